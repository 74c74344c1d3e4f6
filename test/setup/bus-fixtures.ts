// The fixtures of the bus suite: each adapter on each broker that it supports, and how to break connections and
// processes.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConfirmChannel, connect as connectAmqp } from 'amqplib';
import type { MqttClient } from 'mqtt';
import { type Logger, pino } from 'pino';
import { LocalBus } from '../../infra/bus/local.ts';
import { MqttBus } from '../../infra/bus/mqtt/index.ts';
import type { Bus } from '../../infra/bus/port.ts';
import { RabbitmqBus } from '../../infra/bus/rabbitmq/index.ts';
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
import { type Connect, connectTo, endConnection } from '../../infra/mqtt/connect.ts';
import { EmbeddedBroker } from '../../infra/mqtt/embedded/broker.ts';
import { ExternalPublisher } from '../../infra/mqtt/external-publisher.ts';
import { eventTopic } from '../../infra/mqtt/topics.ts';
import type { ServerUrls } from '../servers/find.ts';
import { newPglite } from './pglite.ts';
import { freshDatabase } from './postgres.ts';
import { startProxy } from './proxy.ts';
import { eventually } from './wait.ts';

/** LOG_LEVEL=debug shows the adapters' log. */
export const log: Logger = pino({ level: process.env.LOG_LEVEL ?? 'silent' });

/** A database, and a connection of its own for each process that a test simulates. */
export interface Databases {
  readonly database: Database;
  open(): Promise<Database>;
  close(): Promise<void>;
}

/** A simulated process on the bus, with connections and locks of its own. */
export interface BusProcess {
  readonly bus: Bus;
  readonly database: Database;
  /** Breaks every connection to the broker; new ones are accepted at once. */
  sever(): void;
  /** Looks like kill -9 from outside: connections end and do not come back, locks are released. */
  crash(): Promise<void>;
  close(): Promise<void>;
}

export interface Broker {
  openProcess(topology: Topology, schemaOf: (group: string) => string): Promise<BusProcess>;
  /** Sends a group bytes that no publisher of this project would send, as an event of `type`. */
  inject(topology: Topology, schema: string, type: string, body: Buffer): Promise<void>;
  /** Messages that wait for a group that is away; absent if the broker cannot count them. */
  waiting?(schema: string): Promise<number>;
  /** Removes every name of the topology. */
  forget(topology: Topology): Promise<void>;
  close(): Promise<void>;
}

export interface BusFixture {
  readonly name: string;
  /** Whether its servers run. */
  readonly available: boolean;
  /** Whether the broker is behind a network whose connections can break. */
  readonly network: boolean;
  /** Whether the processes of a group share its events; otherwise one receives them and the others stand by. */
  readonly shares: boolean;
  /** Whether a group may receive only some events of a type. */
  readonly narrows: boolean;
  /** Whether the broker transports bytes that are not UTF-8. */
  readonly anyBytes: boolean;
  readonly openDatabases: () => Promise<Databases>;
  readonly openBroker: (databases: Databases) => Promise<Broker>;
}

export function busFixtures({ databaseUrl, amqpUrl, mosquittoUrl, rabbitMqttUrl }: ServerUrls): BusFixture[] {
  const [postgres, pglite] = databasePlaces(databaseUrl);
  const fixture = {
    available: true,
    network: true,
    shares: true,
    narrows: true,
    anyBytes: true,
    openDatabases: () => openDatabases(databaseUrl),
  };
  const local = { ...fixture, network: false, openBroker: localBroker };
  const mqtt = (url: string | undefined) => ({
    ...fixture,
    available: url !== undefined,
    shares: false,
    narrows: false,
    openBroker: (databases: Databases) => mqttBroker(String(url), databases),
  });
  return [
    { ...local, name: 'local on PGlite', openDatabases: pglite.open },
    { ...local, name: 'local on PostgreSQL', available: postgres.available, openDatabases: postgres.open },
    {
      ...fixture,
      name: 'MQTT on the embedded broker',
      network: false,
      shares: false,
      narrows: false,
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

/** Each kind of database. */
export const databasePlaces = (databaseUrl: string | undefined) =>
  [
    { place: 'PostgreSQL', available: databaseUrl !== undefined, open: () => postgresAt(String(databaseUrl)) },
    { place: 'PGlite', available: true, open: pgliteInFolder },
  ] as const;

/** On PostgreSQL if available. */
export const openDatabases = (databaseUrl: string | undefined): Promise<Databases> =>
  databaseUrl === undefined ? pgliteInFolder() : postgresAt(databaseUrl);

async function postgresAt(serverUrl: string): Promise<Databases> {
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
  await newPglite(dataDir);
  const database = await openPglite({ dataDir });
  return {
    database,
    // It has one session, which all processes share.
    open: async () => ({ ...database, close: async () => {} }),
    close: async () => {
      await database.close();
      await rm(dataDir, { recursive: true });
    },
  };
}

async function localBroker(databases: Databases): Promise<Broker> {
  return {
    openProcess: async (topology, schemaOf) => {
      const database = await databases.open();
      const bus = new LocalBus({ database, topology, inboxOf: (group) => new InboxStore(schemaOf(group)) });
      return { bus, database, sever: () => {}, crash: async () => {}, close: () => closeAll(bus, database) };
    },
    // As a row that cannot be read, for example after a change of schema.
    inject: async (_topology, schema, type, body) => {
      const id = /"id":"([0-9A-Fa-f-]{36})"/.exec(body.toString());
      const subject = /"subject":"([0-9a-f-]{36})"/.exec(body.toString());
      await databases.database.execute(
        `INSERT INTO ${schema}.inbox (message_id, type, subject, status, body)
         VALUES ($1, $2, $3, 'pending', decode($4, 'base64'))`,
        [id?.[1] ?? randomUUID(), type, subject?.[1] ?? null, body.toString('base64')],
      );
    },
    waiting: async (schema) => (await databases.database.query(`SELECT FROM ${schema}.inbox`)).length,
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
    openProcess: async (topology) => {
      const { proxy, through } = await proxyTo(url);
      const database = await databases.open();
      const bus = new RabbitmqBus({ url: through, topology, log, prefetch: 50 });
      return {
        bus,
        database,
        sever: proxy.sever,
        crash: async () => {
          proxy.reject(true);
          proxy.sever();
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
    openProcess: async (topology) => {
      const { proxy, through } = await proxyTo(url);
      const database = await databases.open();
      const publisher = new ExternalPublisher({ url: through, prefix: topology.prefix, log });
      const locks = tracked(database);
      const bus = new MqttBus({ topology, publisher, connect: connectTo(through), database: locks, log });
      await eventually(() => publisher.health().status === 'up', { what: 'the publisher is connected' });
      return {
        bus,
        database,
        sever: proxy.sever,
        crash: async () => {
          proxy.reject(true);
          proxy.sever();
          await locks.releaseAll();
        },
        close: () => closeAll(bus, publisher, database, proxy),
      };
    },
    inject: async (topology, _schema, type, body) => {
      const client = connect({ clientId: `${topology.prefix}-injector` });
      await client.publishAsync(eventTopic(topology.prefix, type), body, { qos: 1 });
      await endConnection(client);
    },
    forget: (topology) => endSessions(connect, topology),
    close: async () => {},
  };
}

async function embeddedBroker(databases: Databases): Promise<Broker> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-bus-'));
  const broker = await EmbeddedBroker.start({ dataDir, host: '127.0.0.1', port: 0, prefix: 'test', log });
  return {
    openProcess: async (topology) => {
      const clients: MqttClient[] = [];
      const connect: Connect = (options) => {
        const client = broker.connectInternal(options);
        clients.push(client);
        return client;
      };
      const database = await databases.open();
      const locks = tracked(database);
      const bus = new MqttBus({ topology, publisher: broker.publisher, connect, database: locks, log });
      return {
        bus,
        database,
        sever: () => {
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
    forget: (topology) => endSessions(broker.connectInternal, topology),
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

/** A connection with a clean session ends the session that a persistent one left at the broker. */
async function endSessions(connect: Connect, topology: Topology): Promise<void> {
  for (const group of Object.keys(topology.groups)) {
    const client = connect({ clientId: sessionOf(topology.prefix, group), clean: true });
    await new Promise((resolve) => client.once('connect', resolve));
    await endConnection(client);
  }
}

/** The database's locks, which can be released as the end of the process would release them. */
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
