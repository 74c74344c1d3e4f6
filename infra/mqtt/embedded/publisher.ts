// Publishing to the embedded broker from inside the process, which is the one way that Aedes stores before it confirms.
import type { Aedes, PublishPacket } from 'aedes';
import { BusError } from '../bus-error.ts';
import type { MqttPublisher } from '../port.ts';
import { createSerialQueue, QueueFull } from './serial-queue.ts';

/** QoS 1 and 2 messages that may wait for their turn; more are rejected. */
const MAX_WAITING = 10_000;
/** QoS 0 messages that may be under way to subscribers; more are dropped. */
export const MAX_UNDER_WAY = 1_000;
/** A message that neither fails nor is stored within this is given up, so that those behind it get their turn. */
const STORE_WITHIN_MS = 20_000;

/**
 * Aedes skips a QoS 1 or 2 message for a subscriber that was sent one with a higher broker counter already, and counts
 * at publish, before it stores. So these go one after the other. QoS 0 overtakes them, under a broker id, and with it
 * a counter, of its own.
 *
 * QoS 2 is published as 1: here it promises no more, and nobody subscribes with more. Aedes sends what waited in a session
 * with the QoS that it was published with, not with the one that was granted; and of QoS 2 it forgets the contents at
 * the PUBREC, which clients send before they have stored anything.
 */
export function createPublisher(broker: Aedes): MqttPublisher {
  const queue = createSerialQueue(MAX_WAITING);
  const lossyId = `${broker.id}-qos0`;
  let underWay = 0;
  let closed = false;

  function publishNow(packet: PublishPacket & { brokerId?: string }): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new BusError('unconfirmed', `the embedded broker did not store within ${STORE_WITHIN_MS} ms`)),
        STORE_WITHIN_MS,
      );
      broker.publish(packet, (error) => {
        clearTimeout(timer);
        if (error) reject(new BusError('rejected', `the embedded broker: ${error.message}`, error));
        else resolve();
      });
    });
  }

  return {
    async publish(topic, payload, { qos, retain = false }) {
      const sent = qos === 2 ? 1 : qos;
      const packet = { cmd: 'publish', topic, payload: Buffer.from(payload), qos: sent, retain, dup: false } as const;
      // A retained message is stored, so it takes its turn as well.
      if (qos === 0 && !retain) {
        if (closed || underWay >= MAX_UNDER_WAY) return;
        underWay++;
        const lossy: PublishPacket & { brokerId: string } = { ...packet, brokerId: lossyId };
        broker.publish(lossy, () => underWay--);
        return;
      }
      if (closed) throw new BusError('unavailable', 'the embedded broker is closing');
      await queue
        .run(() => publishNow(packet))
        .catch((error) => {
          throw error instanceof QueueFull ? new BusError('rejected', `the embedded broker: ${error.message}`) : error;
        });
    },
    health: () => (closed ? { status: 'down', detail: 'closed' } : { status: 'up' }),
    async close() {
      closed = true;
      await queue.idle();
    },
  };
}
