// Buffers what a group's MQTT connection receives until the inbox has stored it, in batches, and acknowledges it then.
//
// mqtt.js passes on the next message when handleMessage has called back for the last one, and sends PUBACK then, unless
// the callback gets an error. So each callback gets an error at once, and this buffer writes the PUBACK itself when the
// message is stored, in the order of arrival (MQTT 3.1.1, section 4.6). Brokers send 10 (RabbitMQ), 20 (Mosquitto) or
// more messages before they wait for acknowledgements, and these messages share a transaction. The broker responds
// to pings meanwhile, so a short absence of the database does not break the connection; after `stallMs` the consumer
// ends it.
import type { IPublishPacket, MqttClient } from 'mqtt';
import type { IncomingMessage, Receiver } from '../port.ts';

/** Messages that may wait to be stored; then mqtt.js reads no further. */
const MAX_WAITING = 200;
/** Messages in one call of the receiver. */
const MAX_BATCH = 100;

export interface InboundBufferOptions {
  readonly receiver: Receiver;
  readonly stallMs: number;
  /** Called when storing a batch takes longer than `stallMs`, and with the error when storing fails. */
  readonly onStall: (error?: unknown) => void;
  readonly probeTopic?: string;
  /** Called when a message on the probe topic has arrived, behind everything that was published before it. */
  readonly onProbe?: () => void;
}

interface BufferedMessage extends IncomingMessage {
  readonly isProbe: boolean;
  readonly messageId: number | undefined;
  /** The connection that delivered it, the only one on which it may be acknowledged. */
  readonly stream: MqttClient['stream'];
}

export class InboundBuffer {
  readonly #options: InboundBufferOptions;
  #attached: MqttClient | undefined;
  #waiting: BufferedMessage[] = [];
  /** Lets mqtt.js read on after the buffer was full. */
  #resume = () => {};
  #storing: Promise<void> | undefined;

  constructor(options: InboundBufferOptions) {
    this.#options = options;
  }

  /** Receives the messages of this client, until another one is attached. */
  attach(client: MqttClient): void {
    this.#attached = client;
    client.on('close', () => {
      if (this.#attached === client) this.#waiting = [];
    });
    client.handleMessage = (packet, callback) => {
      const next = () => callback(new Error('acknowledged when it is stored'));
      if (this.#attached !== client || client.stream.destroyed) next();
      else this.#receive(packet, client.stream, next);
    };
  }

  /** Receives nothing more, and drops messages that are not being stored yet: the broker sends them again. */
  detach(): void {
    this.#attached = undefined;
    this.#waiting = [];
    this.#resume();
  }

  /** Resolves when nothing is being stored. */
  async idle(): Promise<void> {
    await this.#storing;
  }

  #receive(packet: IPublishPacket, stream: MqttClient['stream'], next: () => void): void {
    const { topic, payload, messageId } = packet;
    const body = typeof payload === 'string' ? Buffer.from(payload) : payload;
    this.#waiting.push({ body, isProbe: topic === this.#options.probeTopic, messageId, stream });
    if (this.#waiting.length < MAX_WAITING) next();
    else this.#resume = next;
    this.#storing ??= this.#storeAll().finally(() => {
      this.#storing = undefined;
    });
  }

  async #storeAll(): Promise<void> {
    const { receiver, stallMs, onStall, onProbe } = this.#options;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_BATCH);
      this.#resume();
      const stall = setTimeout(onStall, stallMs);
      try {
        const events = batch.filter(({ isProbe }) => !isProbe);
        if (events.length > 0) await receiver.enqueue(events);
        if (events.length < batch.length) onProbe?.();
        acknowledge(batch);
      } catch (error) {
        onStall(error);
      } finally {
        clearTimeout(stall);
      }
    }
  }
}

/** Writes a PUBACK (MQTT 3.1.1, section 3.4) for each message whose connection is still open. */
function acknowledge(batch: readonly BufferedMessage[]): void {
  for (const { messageId, stream } of batch) {
    if (messageId !== undefined && stream.writable)
      stream.write(Buffer.from([0x40, 0x02, messageId >> 8, messageId & 0xff]));
  }
}
