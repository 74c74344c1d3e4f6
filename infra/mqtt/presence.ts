// Announces that a service runs, on `<prefix>/services/<service>/<instance>`: `online`, retained and repeated, because
// RabbitMQ's MQTT plugin delivers no retained message to a wildcard subscription. A clean stop clears the topic; after a
// crash the broker publishes the Last Will, `offline`.
import type { Logger } from 'pino';
import { reasonOf } from '../runtime/reason.ts';
import { connectTo, endConnection } from './connect.ts';
import type { MqttPublisher } from './port.ts';
import { presenceTopic } from './topics.ts';

export interface PresenceOptions {
  /**
   * `url`: an external broker, to which each service opens a small connection of its own that carries its Last Will.
   * `publisher`: the embedded broker, which needs no Will: it dies with its services, and clears their presence when it
   * starts.
   */
  readonly broker: { readonly url: string } | { readonly publisher: MqttPublisher };
  readonly prefix: string;
  readonly service: string;
  /** Distinguishes processes that run the same service. */
  readonly instance: string;
  readonly log: Logger;
}

const REPEAT_EVERY_MS = 10_000;

export class Presence {
  readonly #log: Logger;
  readonly #transport: Transport;
  #timer: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;

  constructor({ broker, prefix, service, instance, log }: PresenceOptions) {
    const topic = presenceTopic(prefix, service, instance);
    this.#log = log;
    this.#transport = 'url' in broker ? ownConnection(broker.url, topic) : shared(broker.publisher, topic);
  }

  /** Announces in the background, also to a broker that is away now. */
  start(): void {
    const announce = () => void this.#publish('online');
    this.#transport.onReady(announce);
    this.#timer = setInterval(announce, REPEAT_EVERY_MS);
  }

  /** Clears the announcement. Safe to call twice. */
  stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping ??= this.#publish('').then(() => this.#transport.close());
    return this.#stopping;
  }

  #publish(payload: string): Promise<void> {
    return this.#transport
      .publish(payload)
      .catch((error) => this.#log.debug({ reason: reasonOf(error) }, 'presence was not announced'));
  }
}

interface Transport {
  publish(payload: string): Promise<void>;
  onReady(callback: () => void): void;
  close(): Promise<void>;
}

/** QoS 0: a broker handles one connection's packets in order, so the last message arrives before the DISCONNECT. */
function ownConnection(url: string, topic: string): Transport {
  const client = connectTo(url)({
    clean: true,
    will: { topic, payload: Buffer.from('offline'), qos: 1, retain: true },
  });
  // mqtt.js reconnects, and the publisher of the same process logs the outage.
  client.on('error', () => {});
  return {
    async publish(payload) {
      if (client.connected) client.publish(topic, payload, { qos: 0, retain: true });
    },
    onReady: (callback) => void client.on('connect', callback),
    close: () => endConnection(client),
  };
}

const shared = (publisher: MqttPublisher, topic: string): Transport => ({
  publish: (payload) => publisher.publish(topic, payload, { qos: 1, retain: true }),
  onReady: (callback) => callback(),
  close: async () => {},
});
