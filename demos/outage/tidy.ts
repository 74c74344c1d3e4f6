// Removes everything that services leave under a prefix on the brokers: queues, exchanges, sessions, retained presence.
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectAmqp } from 'amqplib';
import type { MqttClient } from 'mqtt';
import { serviceNames, subscriptions } from '../../contracts/services.ts';
import { fieldsOf, socketOptionsOf } from '../../infra/bus/rabbitmq/connect-options.ts';
import { type AmqpServer, parseAmqpUrls } from '../../infra/bus/rabbitmq/url.ts';
import { deadExchangeOf, deadQueueOf, exchangeOf, queueOf, sessionOf } from '../../infra/bus/topology.ts';
import { clientIdOf } from '../../infra/mqtt/client-ids.ts';
import { connectTo, endConnection } from '../../infra/mqtt/connect.ts';
import { presenceTopic } from '../../infra/mqtt/topics.ts';
import { within } from '../../infra/runtime/promises.ts';

export interface Brokers {
  readonly AMQP_URL?: string;
  readonly MQTT_URL: string;
  readonly EVENT_BUS?: string;
}

/** How long the MQTT broker may take to connect, and to send its retained messages. */
const CONNECT_WITHIN_MS = 5_000;
const RETAINED_WITHIN_MS = 300;

/** After the services have ended. Rejects if a broker is away. */
export async function deleteBrokerObjects({ AMQP_URL, MQTT_URL, EVENT_BUS }: Brokers, prefix: string): Promise<void> {
  if (AMQP_URL) await deleteQueues(parseAmqpUrls(AMQP_URL), prefix);
  await clearPresence(MQTT_URL, prefix);
  if (EVENT_BUS === 'mqtt')
    // A clean connection ends the session that a persistent one left.
    for (const service of serviceNames) await withMqtt(MQTT_URL, sessionOf(prefix, service));
}

/** Uses the first node of the cluster that responds. */
async function deleteQueues([node, ...others]: readonly AmqpServer[], prefix: string): Promise<void> {
  if (!node) return;
  const topology = { prefix, groups: subscriptions };
  const connection = await connectAmqp(fieldsOf(node), socketOptionsOf([node])).catch((error) => {
    if (others.length === 0) throw error;
    return undefined;
  });
  if (!connection) return deleteQueues(others, prefix);
  connection.on('error', () => {}); // the calls that fail report it
  try {
    const channel = await connection.createChannel();
    for (const service of serviceNames) {
      await channel.deleteQueue(queueOf(topology, service));
      await channel.deleteQueue(deadQueueOf(topology, service));
    }
    await channel.deleteExchange(exchangeOf(topology));
    await channel.deleteExchange(deadExchangeOf(topology));
  } finally {
    await connection.close();
  }
}

/** A process that stops cleanly clears its presence; a killed one leaves its Last Will. */
const clearPresence = (url: string, prefix: string) =>
  withMqtt(url, clientIdOf(prefix, 'tidy'), async (client) => {
    const retained = new Set<string>();
    client.on('message', (topic, _payload, { retain }) => {
      if (retain) retained.add(topic);
    });
    await client.subscribeAsync(presenceTopic(prefix, '+', '+'), { qos: 0 });
    await sleep(RETAINED_WITHIN_MS);
    for (const topic of retained) await client.publishAsync(topic, '', { retain: true, qos: 1 });
  });

async function withMqtt(url: string, clientId: string, work?: (client: MqttClient) => Promise<void>): Promise<void> {
  const client = connectTo(url)({ clientId, clean: true });
  client.on('error', () => {}); // it retries until the time is over
  try {
    const connected = new Promise((resolve) => client.once('connect', resolve));
    const late = () => new Error(`the MQTT broker did not respond within ${CONNECT_WITHIN_MS} ms`);
    await within(CONNECT_WITHIN_MS, connected, late);
    await work?.(client);
  } finally {
    await endConnection(client);
  }
}
