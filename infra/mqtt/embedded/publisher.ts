// Publishing to the embedded broker from inside its process. Only on this path does Aedes store before it confirms.
import type { Aedes, PublishPacket } from 'aedes';
import type { Health } from '../../runtime/health.ts';
import { within } from '../../runtime/promises.ts';
import { BusError, type MqttPublisher, type PublishOptions } from '../port.ts';

/** QoS 1 and 2 messages that may wait for their turn; more are rejected. */
const MAX_PENDING = 10_000;
/** QoS 0 messages on their way to subscribers; more are dropped. */
export const MAX_LOSSY_IN_FLIGHT = 1_000;
/** A message that is not stored within this time fails, so that the next one gets its turn. */
const STORE_TIMEOUT_MS = 20_000;

/**
 * Aedes skips a QoS 1 or 2 message for a subscriber that was sent one with a higher broker counter already, and counts
 * at publish, before it stores. So these messages are published one at a time. QoS 0 messages overtake them, under a
 * broker id with a counter of its own.
 *
 * QoS 2 is published as QoS 1: the guarantee is the same here, and no client subscribes with more. Aedes sends the
 * messages of a session with the QoS of the publish, not with the granted one, and with QoS 2 it forgets the contents
 * at the PUBREC, which clients send before they have stored anything.
 */
export class EmbeddedPublisher implements MqttPublisher {
  readonly #aedes: Aedes;
  /** Resolves when every message so far is stored or has failed. */
  #stored: Promise<void> = Promise.resolve();
  #pending = 0;
  #lossyInFlight = 0;
  #closed = false;

  constructor(aedes: Aedes) {
    this.#aedes = aedes;
  }

  async publish(topic: string, payload: string, { qos, retain = false }: PublishOptions): Promise<void> {
    const message = { topic, payload: Buffer.from(payload), qos: qos === 0 ? 0 : 1, retain } as const;
    const packet = { ...message, cmd: 'publish', dup: false } as const;
    // A retained message is stored too, so it takes its turn.
    if (qos === 0 && !retain) return this.#publishLossy(packet);
    if (this.#closed) throw new BusError('unavailable', 'the embedded broker is closing');
    if (this.#pending >= MAX_PENDING) throw new BusError('rejected', `${MAX_PENDING} publishes are pending`);
    this.#pending++;
    const stored = this.#stored.then(() => this.#store(packet)).finally(() => this.#pending--);
    this.#stored = stored.catch(() => {});
    return stored;
  }

  health(): Health {
    return this.#closed ? { status: 'down', detail: 'closed' } : { status: 'up' };
  }

  interrupt(): void {}

  close(): Promise<void> {
    this.#closed = true;
    return this.#stored;
  }

  #publishLossy(packet: PublishPacket): void {
    if (this.#closed || this.#lossyInFlight >= MAX_LOSSY_IN_FLIGHT) return;
    this.#lossyInFlight++;
    const lossy = { ...packet, brokerId: `${this.#aedes.id}-qos0` };
    this.#aedes.publish(lossy, () => this.#lossyInFlight--);
  }

  #store(packet: PublishPacket): Promise<void> {
    const stored = new Promise<void>((resolve, reject) => {
      this.#aedes.publish(packet, (error) => {
        if (error) reject(new BusError('rejected', `the embedded broker: ${error.message}`, error));
        else resolve();
      });
    });
    const late = `the embedded broker did not store within ${STORE_TIMEOUT_MS} ms`;
    return within(STORE_TIMEOUT_MS, stored, () => new BusError('unconfirmed', late));
  }
}
