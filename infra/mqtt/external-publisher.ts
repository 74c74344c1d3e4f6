// Publishing to an external MQTT broker, on a connection that does nothing else: on one that also subscribes,
// acknowledgements would wait behind incoming messages.
import type { MqttClient } from 'mqtt';
import type { Logger } from 'pino';
import { ConnectionState } from '../runtime/connection-state.ts';
import type { Health } from '../runtime/health.ts';
import { deferred } from '../runtime/promises.ts';
import { reasonOf } from '../runtime/reason.ts';
import { breakConnection, connectTo, endConnection } from './connect.ts';
import { BusError, type MqttPublisher, type PublishOptions } from './port.ts';
import { PublishQueue } from './publish-queue.ts';

export interface ExternalPublisherOptions {
  readonly url: string;
  readonly log: Logger;
  /** How long a QoS 1 or 2 publish may wait to be sent, and then for the broker's acknowledgement. */
  readonly publishTimeoutMs?: number;
  /** QoS 1 and 2 publishes, sent or waiting, at a time; more are rejected. */
  readonly maxPending?: number;
}

/**
 * QoS 1 and 2 publishes that the broker has not acknowledged, at a time. A client of MQTT 3.1.1 cannot ask a broker for
 * its limit, and Mosquitto disconnects a client that exceeds its max_inflight_messages, 20 by default.
 */
const MAX_IN_FLIGHT = 20;
/** QoS 0 messages are dropped while the socket holds this many bytes that the broker has not read. */
const MAX_UNSENT_BYTES = 1024 * 1024;
const NOT_CONNECTED = 'no connection to the MQTT broker';

/** Connects in the background: a broker that is away shows in health(), never as an exception of the constructor. */
export class ExternalPublisher implements MqttPublisher {
  readonly #client: MqttClient;
  readonly #state: ConnectionState;
  readonly #queue: PublishQueue;
  readonly #publishTimeoutMs: number;
  /** How to fail each publish that the broker has not acknowledged. */
  readonly #inFlight = new Set<(error: BusError) => void>();
  /** When the broker last sent something. */
  #lastReceivedAt = 0;
  #closing: Promise<void> | undefined;

  constructor({ url, log, publishTimeoutMs = 5_000, maxPending = 1_000 }: ExternalPublisherOptions) {
    this.#client = connectTo(url)({ clean: true });
    this.#state = new ConnectionState({ name: 'MQTT publisher', log });
    this.#queue = new PublishQueue({ maxInFlight: MAX_IN_FLIGHT, maxPending, maxWaitMs: publishTimeoutMs });
    this.#publishTimeoutMs = publishTimeoutMs;
    this.#client.on('connect', () => this.#state.up());
    this.#client.on('packetreceive', () => {
      this.#lastReceivedAt = performance.now();
    });
    this.#client.on('error', (error) => this.#state.down(NOT_CONNECTED, error));
    this.#client.on('close', () => this.#disconnected());
  }

  async publish(topic: string, payload: string, options: PublishOptions): Promise<void> {
    const { qos, retain = false } = options;
    if (qos === 0) {
      const drop = this.#closing || !this.#connected || this.#client.stream.writableLength > MAX_UNSENT_BYTES;
      if (!drop) this.#client.publish(topic, payload, { qos, retain });
      return;
    }
    if (this.#closing) throw new BusError('unavailable', 'the MQTT publisher is closed');
    await this.#queue.run(() => this.#publishAcknowledged(topic, payload, options));
  }

  health(): Health {
    return this.#state.health;
  }

  /** Waits for pending publishes, each of which settles within twice its timeout. */
  close(): Promise<void> {
    this.#closing ??= this.#queue.idle().then(() => endConnection(this.#client));
    return this.#closing;
  }

  get #connected(): boolean {
    return this.#state.health.status === 'up';
  }

  #disconnected(): void {
    if (this.#closing) this.#state.reset('closed');
    else if (this.#connected) this.#state.down(NOT_CONNECTED, 'the connection broke');
    for (const fail of this.#inFlight) fail(new BusError('unavailable', 'the connection to the MQTT broker broke'));
  }

  async #publishAcknowledged(topic: string, payload: string, options: PublishOptions): Promise<void> {
    if (!this.#connected) throw new BusError('unavailable', `${NOT_CONNECTED}: ${this.#state.lastError}`);
    const client = this.#client;
    const { promise, resolve, reject } = deferred();
    const startedAt = performance.now();
    let messageId = 0;
    const fail = (error: BusError) => {
      reject(error);
      // mqtt.js would publish it again after a reconnect; that is for the caller to decide.
      client.removeOutgoingMessage(messageId);
    };
    client.publish(topic, payload, options, (error) =>
      error ? fail(new BusError('unavailable', `publish failed: ${reasonOf(error)}`, error)) : resolve(),
    );
    // mqtt.js counts ids up to 65,535 before it starts again, so a late acknowledgement meets no newer message.
    messageId = client.getLastMessageId();
    const timer = setTimeout(() => {
      fail(new BusError('unconfirmed', `the MQTT broker did not acknowledge within ${this.#publishTimeoutMs} ms`));
      // A broker that has sent nothing since is unreachable over this connection; a new one may work.
      if (this.#lastReceivedAt < startedAt) breakConnection(client);
    }, this.#publishTimeoutMs);
    this.#inFlight.add(fail);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#inFlight.delete(fail);
    }
  }
}
