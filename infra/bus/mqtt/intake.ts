// What a group's MQTT connection receives, on its way into the inbox: stored in batches, and acknowledged after.
//
// mqtt.js passes the next message on when handleMessage has called back for the last one, and sends PUBACK then, unless
// it is called back with an error. So each message is called back with one at once, and its PUBACK is written here when
// it is stored, in the order of arrival (MQTT 3.1.1, section 4.6). Brokers send 10 (RabbitMQ), 20 (Mosquitto) or more
// before they wait for acknowledgements, and these then share a transaction. It also keeps the connection alive while
// the database is away: pings are answered on it.
import type { IPublishPacket, MqttClient } from 'mqtt';
import type { IncomingMessage, Receiver } from '../port.ts';

/** Messages that may wait to be stored; mqtt.js reads no further beyond. */
const MAX_WAITING = 200;
/** Messages in one call of the receiver. */
const MAX_BATCH = 100;

export interface Probe {
  readonly topic: string;
  /** What was published on the topic has come through, behind all that was published before. */
  readonly arrived: () => void;
}

interface Waiting extends IncomingMessage {
  readonly isProbe: boolean;
  readonly messageId: number | undefined;
  /** The connection that it came by: an acknowledgement belongs there and nowhere else. */
  readonly stream: MqttClient['stream'];
}

export interface Intake {
  /** Takes over the messages of this client, until it is attached to another. */
  attach(client: MqttClient): void;
  /** Takes in nothing more, and forgets what is not being stored yet: the broker will send it again. */
  detach(): void;
  /** Resolves when nothing is being stored. */
  idle(): Promise<void>;
}

/** `onTrouble` is called when storing a batch takes longer than `stallMs`, and when it fails. */
export function createIntake(
  receiver: Receiver,
  stallMs: number,
  onTrouble: (error?: unknown) => void,
  probe?: Probe,
): Intake {
  let attached: MqttClient | undefined;
  let waiting: Waiting[] = [];
  /** Lets mqtt.js go on, where it was held back. */
  let resume = () => {};
  let storing: Promise<void> | undefined;

  async function storeAll(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, MAX_BATCH);
      resume();
      const stall = setTimeout(onTrouble, stallMs);
      try {
        const events = batch.filter(({ isProbe }) => !isProbe);
        if (events.length > 0) await receiver.enqueue(events);
        if (events.length < batch.length) probe?.arrived();
        acknowledge(batch);
      } catch (error) {
        onTrouble(error);
      } finally {
        clearTimeout(stall);
      }
    }
  }

  function detach(): void {
    attached = undefined;
    waiting = [];
    resume();
  }

  return {
    attach(client) {
      attached = client;
      client.on('close', () => {
        if (attached === client) waiting = [];
      });
      client.handleMessage = (packet, callback) => {
        const next = () => callback(new Error('acknowledged when it is stored'));
        const { stream } = client;
        if (attached !== client || stream.destroyed) return next();
        const isProbe = packet.topic === probe?.topic;
        waiting.push({ body: bytesOf(packet), isProbe, messageId: packet.messageId, stream });
        if (waiting.length < MAX_WAITING) next();
        else resume = next;
        storing ??= storeAll().finally(() => {
          storing = undefined;
        });
      };
    },
    detach,
    async idle() {
      await storing;
    },
  };
}

const bytesOf = ({ payload }: IPublishPacket): Buffer => (typeof payload === 'string' ? Buffer.from(payload) : payload);

/** Writes a PUBACK (MQTT 3.1.1, section 3.4) for each message whose connection is still there. */
function acknowledge(batch: readonly Waiting[]): void {
  for (const { messageId, stream } of batch) {
    if (messageId !== undefined && stream.writable) {
      stream.write(Buffer.from([0x40, 0x02, messageId >> 8, messageId & 0xff]));
    }
  }
}
