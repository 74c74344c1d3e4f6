// Publishing to an external MQTT broker, on a connection of its own: one that also subscribes would have its
// acknowledgements wait behind its own incoming messages.
import type { Logger } from 'pino';
import { BusError } from '../bus/port.ts';
import { connectTo, cutConnection, endConnection, reasonOf } from './connect.ts';
import type { MqttPublisher } from './port.ts';
import { deferred } from './promises.ts';

export interface MqttPublisherOptions {
  readonly url: string;
  /** Random where it is left out. */
  readonly clientId?: string;
  readonly log: Logger;
  /** How long the broker may take to acknowledge a QoS 1 or 2 publish. */
  readonly publishTimeoutMs?: number;
  /** QoS 1 and 2 publishes that may wait for their acknowledgement at a time; more are refused. */
  readonly maxPending?: number;
}

/** QoS 0 messages are dropped while the socket holds this many bytes that the broker has not read. */
const MAX_UNSENT_BYTES = 1024 * 1024;

/** Connects in the background; a broker that is away shows in health(), never as an exception here. */
export function openMqttClient(options: MqttPublisherOptions): MqttPublisher {
  const { url, clientId, log, publishTimeoutMs = 5_000, maxPending = 1_000 } = options;
  const client = connectTo(url)({ clean: true, ...(clientId === undefined ? {} : { clientId }) });
  const pending = new Set<Pending>();
  let connected = false;
  let closing: Promise<void> | undefined;
  let trouble = 'not connected yet';
  /** When the broker last said anything. */
  let heardAt = 0;

  client.on('connect', () => {
    connected = true;
    log.info('MQTT broker connected');
  });
  client.on('packetreceive', () => {
    heardAt = performance.now();
  });
  client.on('error', (error) => {
    // mqtt.js tries again every second; one line per outage is enough.
    if (trouble !== reasonOf(error)) log.warn({ err: error }, 'MQTT broker is not reachable');
    trouble = reasonOf(error);
  });
  client.on('close', () => {
    if (connected) trouble = 'the connection broke';
    if (connected && !closing) log.warn('MQTT broker disconnected');
    connected = false;
    for (const { fail } of pending) fail(new BusError('unavailable', 'the connection to the MQTT broker broke'));
  });

  function publishAcknowledged(topic: string, payload: string, qos: 1 | 2, retain: boolean): Pending {
    const { promise, resolve, reject } = deferred();
    const startedAt = performance.now();
    const timer = setTimeout(() => {
      fail(new BusError('unconfirmed', `the MQTT broker did not acknowledge within ${publishTimeoutMs} ms`));
      // Not a word all that time: a connection that swallows everything. A fresh one may do better.
      if (heardAt < startedAt) cutConnection(client);
    }, publishTimeoutMs);
    client.publish(topic, payload, { qos, retain }, (error) =>
      error ? fail(new BusError('unavailable', `publish failed: ${reasonOf(error)}`, error)) : resolve(),
    );
    // mqtt.js counts ids up to 65,535 before it starts again, so a late acknowledgement meets no newer message.
    const messageId = client.getLastMessageId();
    const fail = (error: BusError) => {
      reject(error);
      // mqtt.js would publish it again after a reconnect; that is for the caller to decide.
      client.removeOutgoingMessage(messageId);
    };
    return { fail, done: promise.finally(() => clearTimeout(timer)) };
  }

  return {
    async publish(topic, payload, { qos, retain = false }) {
      const usable = connected && !closing;
      if (qos === 0) {
        if (usable && client.stream.writableLength <= MAX_UNSENT_BYTES) client.publish(topic, payload, { qos, retain });
        return;
      }
      if (!usable) throw new BusError('unavailable', `no connection to the MQTT broker: ${trouble}`);
      if (pending.size >= maxPending) throw new BusError('refused', `${maxPending} publishes await acknowledgement`);
      const publish = publishAcknowledged(topic, payload, qos, retain);
      pending.add(publish);
      await publish.done.finally(() => pending.delete(publish));
    },

    health: () => (connected ? { status: 'up' } : { status: 'down', detail: trouble }),

    /** Waits for publishes under way, each of which ends within its timeout. Safe to call twice. */
    close() {
      closing ??= Promise.allSettled([...pending].map(({ done }) => done)).then(() => endConnection(client));
      return closing;
    },
  };
}

/** A publish that awaits its acknowledgement. */
interface Pending {
  readonly done: Promise<void>;
  readonly fail: (error: BusError) => void;
}
