// Says that a service is there, on `<prefix>/services/<service>/<instance>`: `online`, retained and repeated, because
// RabbitMQ's MQTT plugin gives no retained message to a wildcard subscription. A clean stop clears it; what dies
// without one is `offline` by its Last Will.
import type { Logger } from 'pino';
import { connectTo, endConnection, reasonOf } from './connect.ts';
import type { MqttPublisher } from './port.ts';
import { presenceTopic } from './topics.ts';

export interface PresenceOptions {
  /**
   * `url`: an external broker, to which each service opens a small connection of its own that carries its Last Will.
   * `publisher`: the embedded broker, which needs no Will: it dies with its services, and starts with a clean slate.
   */
  readonly broker: { readonly url: string } | { readonly publisher: MqttPublisher };
  readonly prefix: string;
  readonly service: string;
  /** Tells processes that run the same service apart. */
  readonly instance: string;
  readonly log: Logger;
}

export interface Presence {
  /** Clears the announcement. Safe to call twice. */
  close(): Promise<void>;
}

const REPEAT_EVERY_MS = 10_000;

/** Announces in the background; a broker that is away is announced to when it is back. */
export function announce({ broker, prefix, service, instance, log }: PresenceOptions): Presence {
  const topic = presenceTopic(prefix, service, instance);
  const carrier = 'url' in broker ? ownConnection(broker.url, topic) : shared(broker.publisher, topic);
  const say = (payload: string) =>
    carrier.publish(payload).catch((error) => log.debug({ reason: reasonOf(error) }, 'presence was not announced'));

  carrier.whenReady(() => void say('online'));
  const timer = setInterval(() => void say('online'), REPEAT_EVERY_MS);
  let closing: Promise<void> | undefined;
  return {
    close() {
      clearInterval(timer);
      closing ??= say('').then(carrier.close);
      return closing;
    },
  };
}

interface Carrier {
  publish(payload: string): Promise<void>;
  whenReady(callback: () => void): void;
  close(): Promise<void>;
}

/** QoS 0: a broker handles one connection's packets in order, so the last word is heard before the DISCONNECT. */
function ownConnection(url: string, topic: string): Carrier {
  const client = connectTo(url)({
    clean: true,
    will: { topic, payload: Buffer.from('offline'), qos: 1, retain: true },
  });
  // mqtt.js tries again by itself, and whoever needs the broker for more than this reports that it is away.
  client.on('error', () => {});
  return {
    async publish(payload) {
      if (client.connected) client.publish(topic, payload, { qos: 0, retain: true });
    },
    whenReady: (callback) => void client.on('connect', callback),
    close: () => endConnection(client),
  };
}

const shared = (publisher: MqttPublisher, topic: string): Carrier => ({
  publish: (payload) => publisher.publish(topic, payload, { qos: 1, retain: true }),
  whenReady: (callback) => callback(),
  close: async () => {},
});
