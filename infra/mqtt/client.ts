// Publishing to an external MQTT broker, on a connection of its own: one that also subscribes would have its
// acknowledgements wait behind its own incoming messages.
import type { Logger } from 'pino';
import { deferred } from '../runtime/promises.ts';
import { BusError } from './bus-error.ts';
import { connectTo, cutConnection, endConnection, reasonOf } from './connect.ts';
import type { MqttPublisher } from './port.ts';

export interface MqttPublisherOptions {
  readonly url: string;
  /** Random where it is left out. */
  readonly clientId?: string;
  readonly log: Logger;
  /** How long a QoS 1 or 2 publish may wait to be sent, and then for the broker to acknowledge it. */
  readonly publishTimeoutMs?: number;
  /** QoS 1 and 2 publishes that may be under way, sent or waiting to be; more are rejected. */
  readonly maxPending?: number;
}

/**
 * QoS 1 and 2 publishes that the broker has not acknowledged, at a time; others wait in line. MQTT 3.1.1 cannot ask a
 * broker how many it takes, and Mosquitto cuts the connection of who exceeds its max_inflight_messages: 20 by default.
 */
const MAX_IN_FLIGHT = 20;
/** QoS 0 messages are dropped while the socket holds this many bytes that the broker has not read. */
const MAX_UNSENT_BYTES = 1024 * 1024;

/** Connects in the background; a broker that is away shows in health(), never as an exception here. */
export function openMqttClient(options: MqttPublisherOptions): MqttPublisher {
  const { url, clientId, log, publishTimeoutMs = 5_000, maxPending = 1_000 } = options;
  const client = connectTo(url)({ clean: true, ...(clientId === undefined ? {} : { clientId }) });
  const line = createLine(MAX_IN_FLIGHT, publishTimeoutMs);
  /** Publishes that the broker has, and has not acknowledged. */
  const inFlight = new Set<(error: BusError) => void>();
  /** All that were called for: in flight or in line. */
  const pending = new Set<Promise<void>>();
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
    if (trouble !== reasonOf(error)) log.warn({ reason: reasonOf(error) }, 'MQTT broker is not reachable');
    trouble = reasonOf(error);
  });
  client.on('close', () => {
    if (connected) trouble = 'the connection broke';
    if (connected && !closing) log.warn('MQTT broker disconnected');
    connected = false;
    for (const fail of inFlight) fail(new BusError('unavailable', 'the connection to the MQTT broker broke'));
  });

  async function publishAcknowledged(topic: string, payload: string, qos: 1 | 2, retain: boolean): Promise<void> {
    if (!connected) throw new BusError('unavailable', `no connection to the MQTT broker: ${trouble}`);
    const { promise, resolve, reject } = deferred();
    const startedAt = performance.now();
    let messageId = 0;
    const fail = (error: BusError) => {
      reject(error);
      // mqtt.js would publish it again after a reconnect; that is for the caller to decide.
      client.removeOutgoingMessage(messageId);
    };
    client.publish(topic, payload, { qos, retain }, (error) =>
      error ? fail(new BusError('unavailable', `publish failed: ${reasonOf(error)}`, error)) : resolve(),
    );
    // mqtt.js counts ids up to 65,535 before it starts again, so a late acknowledgement meets no newer message.
    messageId = client.getLastMessageId();
    const timer = setTimeout(() => {
      fail(new BusError('unconfirmed', `the MQTT broker did not acknowledge within ${publishTimeoutMs} ms`));
      // Not a word all that time: a connection that swallows everything. A fresh one may do better.
      if (heardAt < startedAt) cutConnection(client);
    }, publishTimeoutMs);
    inFlight.add(fail);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      inFlight.delete(fail);
    }
  }

  return {
    async publish(topic, payload, { qos, retain = false }) {
      if (qos === 0) {
        const readable = connected && !closing && client.stream.writableLength <= MAX_UNSENT_BYTES;
        if (readable) client.publish(topic, payload, { qos, retain });
        return;
      }
      if (closing) throw new BusError('unavailable', 'the MQTT publisher is closed');
      if (pending.size >= maxPending) throw new BusError('rejected', `${maxPending} publishes await acknowledgement`);
      const published = line(() => publishAcknowledged(topic, payload, qos, retain));
      pending.add(published);
      await published.finally(() => pending.delete(published));
    },

    health: () => (connected ? { status: 'up' } : { status: 'down', detail: 'no connection to the MQTT broker' }),

    /** Waits for publishes under way, each of which ends within twice its timeout. Safe to call twice. */
    close() {
      closing ??= Promise.allSettled(pending).then(() => endConnection(client));
      return closing;
    },
  };
}

/** Lets `width` tasks run at a time; the others wait, first come, first served, and reject after `waitMs`. */
function createLine(width: number, waitMs: number): (task: () => Promise<void>) => Promise<void> {
  const waiting = new Set<() => void>();
  let running = 0;
  const turn = () =>
    new Promise<void>((resolve, reject) => {
      const go = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        waiting.delete(go);
        reject(new BusError('unavailable', `not sent to the MQTT broker within ${waitMs} ms`));
      }, waitMs);
      waiting.add(go);
    });
  return async (task) => {
    if (running < width) running++;
    else await turn();
    try {
      await task();
    } finally {
      const [next] = waiting;
      if (next) {
        waiting.delete(next);
        next();
      } else running--;
    }
  };
}
