// The outside world, as the configuration names it: what has no URL is embedded.
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { subscriptions } from '../contracts/services.ts';
import { LocalBus } from '../infra/bus/local.ts';
import { MqttBus } from '../infra/bus/mqtt/index.ts';
import type { Bus } from '../infra/bus/port.ts';
import { RabbitmqBus } from '../infra/bus/rabbitmq/index.ts';
import type { Topology } from '../infra/bus/topology.ts';
import { openPglite } from '../infra/database/pglite.ts';
import type { Database } from '../infra/database/port.ts';
import { openPostgres } from '../infra/database/postgres.ts';
import { InboxStore } from '../infra/messaging/inbox-store.ts';
import { type Connect, connectTo } from '../infra/mqtt/connect.ts';
import { EmbeddedBroker } from '../infra/mqtt/embedded/broker.ts';
import { ExternalPublisher } from '../infra/mqtt/external-publisher.ts';
import type { MqttPublisher } from '../infra/mqtt/port.ts';
import type { PresenceOptions } from '../infra/mqtt/presence.ts';
import type { OpenQueuesOptions } from '../infra/queue/index.ts';
import type { PacedQueues } from '../infra/queue/port.ts';
import { lockDataDir } from '../infra/runtime/data-dir.ts';
import { openHttpProvider } from '../services/order/payments/http-provider.ts';
import type { PaymentProvider } from '../services/order/payments/port.ts';
import { openExclusively } from '../simulators/payment-provider/exclusive.ts';
import type { Config } from './config.ts';
import { schemaOf } from './schemas.ts';

export interface Resources {
  readonly database: Database;
  readonly mqtt: MqttPublisher;
  /** How a service says that it is there. */
  readonly presence: PresenceOptions['broker'];
  /** Opens the bus, once the tables exist that a local one writes to. */
  openBus(): Promise<Bus>;
  /** Opens what paces the flash-sale queues. Safe to call twice. */
  openQueues(): Promise<PacedQueues>;
  /** What openQueues opened. */
  queues(): PacedQueues | undefined;
  /** Opens the payment provider. Safe to call twice. Rejects with a StartupError where the embedded one is in use. */
  payments(): Promise<PaymentProvider>;
  /** Serves the embedded broker's WebSocket, where there is one. */
  attach(server: Server): void;
  /** Closes everything but the bus. */
  close(): Promise<void>;
}

export async function openResources(config: Config, log: Logger): Promise<Resources> {
  // Opened in this order, closed in the reverse.
  const closing: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const end of closing.splice(0).reverse()) await end();
  };
  try {
    if (!config.DATABASE_URL || !config.MQTT_URL) {
      closing.push(await lockDataDir(config.DATA_DIR));
    }
    const broker = await openBroker(config, log);
    closing.push(broker.close);
    const database = await openDatabase(config, log);
    closing.push(database.close);
    let queues: PacedQueues | undefined;
    let payments: PaymentProvider | undefined;
    return {
      database,
      mqtt: broker.publisher,
      presence: config.MQTT_URL ? { url: config.MQTT_URL } : { publisher: broker.publisher },
      attach: broker.attach,
      openBus: () => openBus({ config, database, broker, closing, log }),
      openQueues: async () => {
        if (!queues) {
          // Imported here: the other services need none of it, and start sooner.
          const { openQueues } = await import('../infra/queue/index.ts');
          queues = await openQueues({ on: queueServer(config, database), prefix: config.BUS_PREFIX, log });
          closing.push(queues.close);
        }
        return queues;
      },
      queues: () => queues,
      payments: async () => {
        if (!payments) {
          payments = await openPayments(config, database, log);
          closing.push(payments.close);
        }
        return payments;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Broker {
  readonly publisher: MqttPublisher;
  readonly connect: Connect;
  readonly attach: (server: Server) => void;
  readonly close: () => Promise<void>;
}

async function openBroker(config: Config, log: Logger): Promise<Broker> {
  if (config.MQTT_URL) {
    const publisher = new ExternalPublisher({ url: config.MQTT_URL, log, publishTimeoutMs: config.PUBLISH_TIMEOUT_MS });
    return { publisher, connect: connectTo(config.MQTT_URL), attach: () => {}, close: () => publisher.close() };
  }
  const broker = await EmbeddedBroker.start({
    dataDir: config.DATA_DIR,
    host: config.HOST,
    port: config.MQTT_PORT,
    prefix: config.BUS_PREFIX,
    log,
  });
  log.info({ url: `mqtt://${config.HOST}:${broker.port}` }, 'MQTT broker embedded');
  return {
    publisher: broker.publisher,
    connect: broker.connectInternal,
    attach: (server) => broker.acceptWebSockets(server),
    close: () => broker.close(),
  };
}

async function openDatabase(config: Config, log: Logger): Promise<Database> {
  if (config.DATABASE_URL) return openPostgres({ url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE, log });
  return openPglite({ dataDir: join(config.DATA_DIR, 'database') });
}

const queueServer = ({ REDIS_URL, DATABASE_URL }: Config, database: Database): OpenQueuesOptions['on'] =>
  REDIS_URL ? { redisUrl: REDIS_URL } : DATABASE_URL ? { postgresUrl: DATABASE_URL, database } : { pglite: database };

async function openPayments(config: Config, database: Database, log: Logger): Promise<PaymentProvider> {
  const { PAYMENT_URL, PAYMENT_TIMEOUT_MS: timeoutMs, DATA_DIR: dataDir } = config;
  if (PAYMENT_URL) return openHttpProvider({ url: PAYMENT_URL, timeoutMs });
  return openExclusively(database, log, async () => {
    // Imported here: a provider elsewhere needs none of it.
    const { openEmbeddedProvider } = await import('../simulators/payment-provider/embedded.ts');
    return openEmbeddedProvider({ dataDir, timeoutMs, log });
  });
}

const topologyOf = (config: Config): Topology => ({ prefix: config.BUS_PREFIX, groups: subscriptions });

interface OpenBusOptions {
  readonly config: Config;
  readonly database: Database;
  readonly broker: Broker;
  /** Gets a step for each resource that the bus needs and does not close. */
  readonly closing: (() => Promise<unknown>)[];
  readonly log: Logger;
}

async function openBus({ config, database, broker, closing, log }: OpenBusOptions): Promise<Bus> {
  const topology = topologyOf(config);
  switch (config.busKind) {
    case 'local':
      return new LocalBus({
        database: database.background,
        topology,
        inboxOf: (group) => new InboxStore(schemaOf(group)),
      });
    case 'mqtt': {
      // Events have a connection of their own, so that neither they nor notifications and logs wait for each other.
      let { publisher } = broker;
      if (config.MQTT_URL) {
        publisher = new ExternalPublisher({ url: config.MQTT_URL, log, publishTimeoutMs: config.PUBLISH_TIMEOUT_MS });
        closing.push(() => publisher.close());
      }
      return new MqttBus({ topology, publisher, connect: broker.connect, database, log });
    }
    case 'rabbitmq':
      return new RabbitmqBus({
        url: config.AMQP_URL ?? '',
        topology,
        log,
        confirmTimeoutMs: config.PUBLISH_TIMEOUT_MS,
        prefetch: config.PREFETCH,
      });
  }
}
