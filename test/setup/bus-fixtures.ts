// Where the bus suite runs: each adapter on each broker that it is made for, with ways to break what can break.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConfirmChannel, connect as connectAmqp } from 'amqplib';
import type { MqttClient } from 'mqtt';
import { type Logger, pino } from 'pino';
import { openLocalBus } from '../../infra/bus/local.ts';
import { openMqttBus } from '../../infra/bus/mqtt/index.ts';
import type { Bus } from '../../infra/bus/port.ts';
import { openRabbitmqBus } from '../../infra/bus/rabbitmq/index.ts';
import {
  deadExchangeOf,
  deadQueueOf,
  exchangeOf,
  queueOf,
  sessionOf,
  type Topology,
} from '../../infra/bus/topology.ts';
import { openPglite } from '../../infra/database/pglite.ts';
import type { Database, Lock } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { InboxStore } from '../../infra/messaging/inbox-store.ts';
import { openMqttClient } from '../../infra/mqtt/client.ts';
import { type Connect, connectTo, endConnection } from '../../infra/mqtt/connect.ts';
import { startEmbeddedBroker } from '../../infra/mqtt/embedded/broker.ts';
import { eventTopic } from '../../infra/mqtt/topics.ts';
import type { ServerUrls } from '../servers/find.ts';
import { freshDatabase } from './postgres.ts';
import { startProxy } from './proxy.ts';
import { eventually } from './wait.ts';

/** LOG_LEVEL=debug shows what the adapters say while a test is looked into. */
export const log: Logger = pino({ level: process.env.LOG_LEVEL ?? 'silent' });

/** A database, and one connection to it for each process that a test pretends to be. */
export interface Databases {
  readonly database: Database;
  open(): Promise<Database>;
  close(): Promise<void>;
}

/** One process on the bus: with connections and locks of its own. */
export interface Peer {
  readonly bus: Bus;
  readonly database: Database;
  /** Breaks every connection to the broker; each may be made again at once. */
  cut(): void;
  /** What kill -9 looks like from outside: connections end and do not come back, locks are free. */
  crash(): Promise<void>;
  close(): Promise<void>;
}

export interface Broker {
  openPeer(topology: Topology, schemaOf: (group: string) => string): Promise<Peer>;
  /** Puts bytes in a group's way that no publisher of ours would send, as an event of `type`. */
  inject(topology: Topology, schema: string, type: string, body: Buffer): Promise<void>;
  /** Messages that it keeps for a group that is away, where it can be asked. */
  kept?(schema: string): Promise<number>;
  /** Removes every name of the topology. */
  forget(topology: Topology): Promise<void>;
  close(): Promise<void>;
}

export interface BusFixture {
  readonly name: string;
  /** Whether its servers could be had. */
  readonly available: boolean;
  /** Whether the broker is behind a network that can be cut. */
  readonly network: boolean;
  /** Whether the members of a group share its events; where they do not, one holds them and the others stand by. */
  readonly shares: boolean;
  /** Whether bytes that are no UTF-8 can come this way. */
  readonly anyBytes: boolean;
  readonly openDatabases: () => Promise<Databases>;
  readonly openBroker: (databases: Databases) => Promise<Broker>;
}

export function busFixtures({ databaseUrl, amqpUrl, mosquittoUrl, rabbitMqttUrl }: ServerUrls): BusFixture[] {
  const postgres = () => postgresAt(String(databaseUrl));
  const openDatabases = databaseUrl ? postgres : pgliteInFolder;
  const fixture = { available: true, network: true, shares: true, anyBytes: true, openDatabases };
  const local = { ...fixture, network: false, openBroker: localBroker };
  const mqtt = (url: string | undefined) => ({
    ...fixture,
    available: url !== undefined,
    shares: false,
    openBroker: (databases: Databases) => mqttBroker(String(url), databases),
  });
  return [
    { ...local, name: 'local on PGlite', openDatabases: pgliteInFolder },
    { ...local, name: 'local on PostgreSQL', available: databaseUrl !== undefined, openDatabases: postgres },
    {
      ...fixture,
      name: 'MQTT on the embedded broker',
      network: false,
      shares: false,
      anyBytes: false,
      openBroker: embeddedBroker,
    },
    { ...mqtt(mosquittoUrl), name: 'MQTT on Mosquitto' },
    { ...mqtt(rabbitMqttUrl), name: "MQTT on RabbitMQ's plugin" },
    {
      ...fixture,
      name: 'AMQP on RabbitMQ',
      available: amqpUrl !== undefined,
      openBroker: (databases) => amqpBroker(String(amqpUrl), databases),
    },
  ];
}

export async function postgresAt(serverUrl: string): Promise<Databases> {
  const { url, drop } = await freshDatabase(serverUrl);
  const open = async () => openPostgres({ url, poolSize: 4, log });
  const database = await open();
  return {
    database,
    open,
    close: async () => {
      await database.close();
      await drop();
    },
  };
}

export async function pgliteInFolder(): Promise<Databases> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-bus-'));
  const database = await openPglite({ dataDir });
  return {
    database,
    // It has one session, which all share.
    open: async () => ({ ...database, close: async () => {} }),
    close: async () => {
      await database.close();
      await rm(dataDir, { recursive: true });
    },
  };
}

async function localBroker(databases: Databases): Promise<Broker> {
  return {
    openPeer: async (topology, schemaOf) => {
      const database = await databases.open();
      const bus = openLocalBus({ database, topology, inboxOf: (group) => new InboxStore(schemaOf(group)) });
      return { bus, database, cut: () => {}, crash: async () => {}, close: () => closeAll(bus, database) };
    },
    // What waits in a row and cannot be read, as after a change of schema.
    inject: async (_topology, schema, type, body) => {
      const said = /"id":"([0-9A-Fa-f-]{36})"/.exec(body.toString());
      const about = /"subject":"([0-9a-f-]{36})"/.exec(body.toString());
      await databases.database.execute(
        `INSERT INTO ${schema}.inbox (message_id, type, subject, status, body)
         VALUES ($1, $2, $3, 'pending', decode($4, 'base64'))`,
        [said?.[1] ?? randomUUID(), type, about?.[1] ?? null, body.toString('base64')],
      );
    },
    kept: async (schema) => (await databases.database.query(`SELECT FROM ${schema}.inbox`)).length,
    forget: async () => {},
    close: async () => {},
  };
}

async function amqpBroker(url: string, databases: Databases): Promise<Broker> {
  const administer = async (work: (channel: ConfirmChannel) => Promise<unknown>) => {
    const connection = await connectAmqp(url);
    await work(await connection.createConfirmChannel());
    await connection.close();
  };
  return {
    openPeer: async (topology) => {
      const { proxy, through } = await proxyTo(url);
      const database = await databases.open();
      const bus = await openRabbitmqBus({ url: through, topology, log, prefetch: 50 });
      return {
        bus,
        database,
        cut: proxy.cut,
        crash: async () => {
          proxy.reject(true);
          proxy.cut();
        },
        close: () => closeAll(bus, database, proxy),
      };
    },
    inject: (topology, _schema, type, body) =>
      administer(async (channel) => {
        channel.publish(exchangeOf(topology), type, body, { persistent: true, mandatory: true });
        await channel.waitForConfirms();
      }),
    forget: (topology) =>
      administer(async (channel) => {
        for (const group of Object.keys(topology.groups)) {
          await channel.deleteQueue(queueOf(topology, group));
          await channel.deleteQueue(deadQueueOf(topology, group));
        }
        await channel.deleteExchange(exchangeOf(topology));
        await channel.deleteExchange(deadExchangeOf(topology));
      }),
    close: async () => {},
  };
}

async function mqttBroker(url: string, databases: Databases): Promise<Broker> {
  const connect = connectTo(url);
  return {
    openPeer: async (topology) => {
      const { proxy, through } = await proxyTo(url);
      const database = await databases.open();
      const publisher = openMqttClient({ url: through, log });
      const locks = tracked(database);
      const bus = openMqttBus({ topology, publisher, connect: connectTo(through), database: locks, log });
      await eventually(() => publisher.health().status === 'up', { what: 'the publisher is connected' });
      return {
        bus,
        database,
        cut: proxy.cut,
        crash: async () => {
          proxy.reject(true);
          proxy.cut();
          await locks.releaseAll();
        },
        close: () => closeAll(bus, publisher, database, proxy),
      };
    },
    inject: async (topology, _schema, type, body) => {
      const client = connect({});
      await client.publishAsync(eventTopic(topology.prefix, type), body, { qos: 1 });
      await endConnection(client);
    },
    forget: (topology) => endSessions(connect, topology),
    close: async () => {},
  };
}

async function embeddedBroker(databases: Databases): Promise<Broker> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-bus-'));
  const broker = await startEmbeddedBroker({ dataDir, host: '127.0.0.1', port: 0, prefix: 'test', log });
  return {
    openPeer: async (topology) => {
      const clients: MqttClient[] = [];
      const connect: Connect = (options) => {
        const client = broker.connectInside(options);
        clients.push(client);
        return client;
      };
      const database = await databases.open();
      const locks = tracked(database);
      const bus = openMqttBus({ topology, publisher: broker.publisher, connect, database: locks, log });
      return {
        bus,
        database,
        cut: () => {
          for (const client of clients) client.stream.destroy();
        },
        crash: async () => {
          for (const client of clients) client.end(true);
          await locks.releaseAll();
        },
        close: () => closeAll(bus, database),
      };
    },
    inject: (topology, _schema, type, body) =>
      broker.publisher.publish(eventTopic(topology.prefix, type), body.toString(), { qos: 1 }),
    forget: (topology) => endSessions(broker.connectInside, topology),
    close: async () => {
      await broker.close();
      await rm(dataDir, { recursive: true });
    },
  };
}

async function closeAll(...resources: { close(): Promise<void> }[]): Promise<void> {
  for (const resource of resources) await resource.close();
}

async function proxyTo(url: string) {
  const proxy = await startProxy(url);
  const through = new URL(url);
  through.host = `127.0.0.1:${proxy.port}`;
  return { proxy, through: through.href };
}

/** A clean connection ends the session that a persistent one left at the broker. */
async function endSessions(connect: Connect, topology: Topology): Promise<void> {
  for (const group of Object.keys(topology.groups)) {
    const client = connect({ clientId: sessionOf(topology.prefix, group), clean: true });
    await new Promise((resolve) => client.once('connect', resolve));
    await endConnection(client);
  }
}

/** The database's locks, which can be taken away as the end of the process would. */
function tracked(database: Database) {
  const held = new Set<Lock>();
  return {
    async tryLock(name: string): Promise<Lock | undefined> {
      const lock = await database.tryLock(name);
      if (!lock) return undefined;
      held.add(lock);
      return { lost: lock.lost, release: async () => void (held.delete(lock) && (await lock.release())) };
    },
    async releaseAll(): Promise<void> {
      for (const lock of held) await lock.release();
      held.clear();
    },
  };
}
