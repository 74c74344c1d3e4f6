// Announces that a service runs, on `<prefix>/services/<service>/<instance>`: `online`, retained and repeated, because
// RabbitMQ's MQTT plugin delivers no retained message to a wildcard subscription. A clean stop clears the topic; after
// a crash the broker publishes the Last Will, `offline`.
import type { MqttClient } from 'mqtt';
import type { Logger } from 'pino';
import { reasonOf } from '../runtime/reason.ts';
import { clientIdOf } from './client-ids.ts';
import { connectTo, endConnection } from './connect.ts';
import type { MqttPublisher } from './port.ts';
import { PRESENCE_EVERY_MS, presenceMessages, presenceTopic } from './topics.ts';

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

export class Presence {
  readonly #options: PresenceOptions;
  readonly #topic: string;
  /** The connection to an external broker. */
  readonly #client: MqttClient | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: PresenceOptions) {
    const { broker, prefix, service, instance } = options;
    this.#options = options;
    this.#topic = presenceTopic(prefix, service, instance);
    if (!('url' in broker)) return;
    const will = { topic: this.#topic, payload: Buffer.from(presenceMessages.lost), qos: 1, retain: true } as const;
    this.#client = connectTo(broker.url)({ clientId: clientIdOf(prefix, 'presence'), clean: true, will });
    // mqtt.js reconnects, and the publisher of the same process logs the outage.
    this.#client.on('error', () => {});
  }

  /** Announces in the background, also to a broker that is away now. */
  start(): void {
    const announce = () => void this.#publish(presenceMessages.running);
    if (this.#client) this.#client.on('connect', announce);
    else announce();
    this.#timer = setInterval(announce, PRESENCE_EVERY_MS);
  }

  /** Clears the announcement. Safe to call twice. */
  stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping ??= this.#publish(presenceMessages.stopped).then(() => this.#client && endConnection(this.#client));
    return this.#stopping;
  }

  async #publish(payload: string): Promise<void> {
    const { broker, log } = this.#options;
    if ('publisher' in broker) {
      const published = broker.publisher.publish(this.#topic, payload, { qos: 1, retain: true });
      await published.catch((error) => log.debug({ reason: reasonOf(error) }, 'presence was not announced'));
    } else if (this.#client?.connected) {
      // QoS 0: a broker handles one connection's packets in order, so the last message arrives before the DISCONNECT.
      this.#client.publish(this.#topic, payload, { qos: 0, retain: true });
    }
  }
}
