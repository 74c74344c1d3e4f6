// Publishing to the MQTT broker, embedded or external. Subscribing to events is the job of bus/mqtt/.
import type { Health } from '../runtime/health.ts';

/** The path at which the embedded broker accepts WebSocket connections. */
export const WEBSOCKET_PATH = '/mqtt';
/** The time between the pings of a connection. */
export const KEEPALIVE_SECONDS = 30;

export interface PublishOptions {
  readonly qos: 0 | 1 | 2;
  readonly retain?: boolean;
}

export interface MqttPublisher {
  /**
   * QoS 1 and 2: resolves once the broker has stored the message; rejects with a BusError if the broker is away or does
   * not respond in time. QoS 0: resolves at once, and drops the message while the broker is away or reads too slowly.
   */
  publish(topic: string, payload: string, options: PublishOptions): Promise<void>;
  health(): Health;
  /** For a stop: from now on, a broker that is away or does not respond is waited for at most a second. */
  interrupt(): void;
  /** Waits for pending publishes, then disconnects. Safe to call twice. */
  close(): Promise<void>;
}

type BusErrorCode =
  | 'unavailable' // no connection, or it broke before the confirm
  | 'unconfirmed' // no confirm in time
  | 'unroutable' // no queue would have received it
  | 'rejected' // by the broker (nack, full queue), or because too many publishes are pending
  | 'oversized'; // larger than MAX_EVENT_BYTES

/** Why a broker did not take a message over. */
export class BusError extends Error {
  override readonly name = 'BusError';
  readonly code: BusErrorCode;

  constructor(code: BusErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
