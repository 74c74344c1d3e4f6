// The servers that the configuration names; anything without a URL runs embedded.
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { Readiness } from '../contracts/operations.ts';
import { narrowed, subscriptions } from '../contracts/services.ts';
import type { TokenVerifier } from '../infra/access/tokens.ts';
import { LocalBus } from '../infra/bus/local.ts';
import { MqttBus } from '../infra/bus/mqtt/index.ts';
import type { Bus } from '../infra/bus/port.ts';
import { RabbitmqBus } from '../infra/bus/rabbitmq/index.ts';
import type { Topology } from '../infra/bus/topology.ts';
import type { Database } from '../infra/database/port.ts';
import { openPostgres } from '../infra/database/postgres.ts';
import { InboxStore } from '../infra/messaging/inbox-store.ts';
import { type Connect, connectTo } from '../infra/mqtt/connect.ts';
import type { AdmitUpgrade } from '../infra/mqtt/embedded/broker.ts';
import { ExternalPublisher } from '../infra/mqtt/external-publisher.ts';
import type { MqttPublisher } from '../infra/mqtt/port.ts';
import type { PresenceOptions } from '../infra/mqtt/presence.ts';
import type { PacedQueues } from '../infra/queue/port.ts';
import { lockDataDir } from '../infra/runtime/data-dir.ts';
import type { ServerCertificate } from '../infra/runtime/server-certificate.ts';
import { hostPort } from '../infra/runtime/server-url.ts';
import { Shutdown } from '../infra/runtime/shutdown.ts';
import { openHttpProvider } from '../services/order/payments/http-provider.ts';
import type { PaymentProvider } from '../services/order/payments/port.ts';
import type { Config } from './config.ts';
import { schemaOf } from './schemas.ts';

/**
 * Resources that a process opens once. The queues and the payment provider are opened when a service first asks for
 * them.
 */
export class Resources {
  readonly database: Database;
  readonly mqtt: MqttPublisher;
  /** The MQTT broker on which services announce their presence. */
  readonly presence: PresenceOptions['broker'];
  readonly #config: Config;
  readonly #log: Logger;
  readonly #broker: Broker;
  readonly #shutdown: Shutdown;
  readonly #stopping = new AbortController();
  #queues: PacedQueues | undefined;
  #payments: PaymentProvider | undefined;
  #paymentUrl: string | undefined;

  /** `shutdown` closes the resources in `opened`; close() runs it. By default, the caller closes them. */
  constructor(
    config: Config,
    log: Logger,
    opened: { database: Database; broker: Broker },
    shutdown = new Shutdown(log),
  ) {
    this.#config = config;
    this.#log = log;
    this.#broker = opened.broker;
    this.#shutdown = shutdown;
    this.database = this.#interruptible(opened.database);
    this.mqtt = this.#interruptible(opened.broker.publisher);
    this.presence = config.MQTT_URL ? { url: config.MQTT_URL } : { publisher: this.mqtt };
  }

  /** Opens the bus. The inboxes must exist before, because the local bus writes to them. The caller closes the bus. */
  async openBus(): Promise<Bus> {
    return this.#interruptible(this.#createBus());
  }

  #createBus(): Bus {
    const { busKind, AMQP_URL, MQTT_URL, BUS_PREFIX: prefix, PREFETCH: prefetch } = this.#config;
    const { PUBLISH_TIMEOUT_MS: publishTimeoutMs, EVENTS_PER_MESSAGE: eventsPerMessage } = this.#config;
    const { database } = this;
    const log = this.#log;
    const topology: Topology = { prefix, groups: subscriptions, narrowed };
    switch (busKind) {
      case 'local': {
        const inboxOf = (group: string) => new InboxStore(schemaOf(group));
        return new LocalBus({ database: database.background, topology, inboxOf });
      }
      case 'mqtt': {
        // On an external broker events have a connection of their own, so that they and notifications do not wait for
        // each other.
        const own =
          MQTT_URL &&
          this.#own(
            this.#interruptible(new ExternalPublisher({ url: MQTT_URL, prefix, log, publishTimeoutMs, use: 'events' })),
          );
        return new MqttBus({ topology, publisher: own || this.mqtt, connect: this.#broker.connect, database, log });
      }
      case 'rabbitmq':
        return new RabbitmqBus({
          url: AMQP_URL ?? '',
          topology,
          log,
          confirmTimeoutMs: publishTimeoutMs,
          eventsPerMessage,
          prefetch,
        });
    }
  }

  /** Opens the server of the paced queues. Safe to call twice. */
  async openQueues(log: Logger): Promise<PacedQueues> {
    if (this.#queues) return this.#queues;
    // Imported here, because the other services do not need it and start sooner without it.
    const { openQueues } = await import('../infra/queue/index.ts');
    const { REDIS_URL, DATABASE_URL, BUS_PREFIX: prefix, MIGRATE } = this.#config;
    const { database } = this;
    const ofDatabase = DATABASE_URL ? { postgresUrl: DATABASE_URL, database } : { pglite: database };
    const on = REDIS_URL ? { redisUrl: REDIS_URL } : ofDatabase;
    const migrate = MIGRATE === 'on';
    this.#queues = this.#own(await openQueues({ on, prefix, migrate, stopping: this.#stopping.signal, log }));
    return this.#queues;
  }

  /** The states of everything but the database. */
  states(bus: Bus): Readiness['resources'] {
    const queues = this.#queues && { queues: this.#queues.health() };
    return { bus: bus.health(), mqtt: this.mqtt.health(), ...queues };
  }

  /** Opens the payment provider. Safe to call twice. Rejects with a StartupError if the embedded one is in use. */
  async payments(): Promise<PaymentProvider> {
    if (this.#payments) return this.#payments;
    const { PAYMENT_URL, PAYMENT_TIMEOUT_MS: timeoutMs } = this.#config;
    const url = PAYMENT_URL ?? this.#paymentUrl;
    if (url) this.#payments = this.#own(openHttpProvider({ url, timeoutMs }));
    else {
      const embedded = this.#own(await openEmbedded(this.#config, this.database, this.#log));
      this.#payments = embedded;
      this.#paymentUrl = embedded.url;
    }
    return this.#payments;
  }

  /** The URL of the embedded payment provider; undefined before it is opened. */
  get paymentUrl(): string | undefined {
    return this.#paymentUrl;
  }

  /** Call it before payments() if another thread has opened the embedded payment provider. */
  payAt(url: string | undefined): void {
    this.#paymentUrl = url;
  }

  /** Closes it with all others. */
  #own<R extends { close(): Promise<unknown> }>(resource: R): R {
    this.#shutdown.add(() => resource.close());
    return resource;
  }

  /** Serves the embedded broker over WebSocket; does nothing with MQTT_URL. `admit`: for each request, first. */
  attach(server: Server, admit: AdmitUpgrade): void {
    this.#broker.attach?.(server, admit);
  }

  /** For a stop: servers that are away or do not respond are no longer waited for. Safe to call twice. */
  interrupt(): void {
    this.#stopping.abort();
  }

  #interruptible<R extends { interrupt(): void }>(resource: R): R {
    const { signal } = this.#stopping;
    signal.addEventListener('abort', () => resource.interrupt());
    if (signal.aborted) resource.interrupt();
    return resource;
  }

  /** Closes everything but the bus. Safe to call twice. */
  close(): Promise<void> {
    return this.#shutdown.run();
  }
}

export interface Broker {
  readonly publisher: MqttPublisher;
  readonly connect: Connect;
  readonly attach?: (server: Server, admit: AdmitUpgrade) => void;
  /** Serves the connection of another thread. */
  readonly accept?: (stream: Duplex) => void;
  readonly close: () => Promise<void>;
}

/** How the embedded broker meets clients from outside the process. */
interface ListenerOptions {
  /** Of their tokens; undefined: they need none. */
  readonly verifier?: TokenVerifier | undefined;
  /** Undefined: without TLS. */
  readonly certificate?: ServerCertificate | undefined;
}

/** `broker`: that of another thread, which also holds the lock of the data folder. Otherwise one is opened. */
export async function openResources(
  config: Config,
  log: Logger,
  { broker: given, ...listener }: ListenerOptions & { readonly broker?: Broker } = {},
): Promise<Resources> {
  const shutdown = new Shutdown(log);
  try {
    if (!given && (!config.DATABASE_URL || !config.MQTT_URL)) shutdown.add(await lockDataDir(config.DATA_DIR));
    const broker = given ?? (await openBroker(config, log, listener));
    shutdown.add(() => broker.close());
    const database = await openDatabase(config, log);
    shutdown.add(() => database.close());
    return new Resources(config, log, { database, broker }, shutdown);
  } catch (error) {
    await shutdown.run();
    throw error;
  }
}

async function openDatabase(
  { DATABASE_URL: url, DATABASE_POOL_SIZE: poolSize, DATA_DIR: dataDir }: Config,
  log: Logger,
) {
  if (url) return openPostgres({ url, poolSize, log });
  const { openPglite } = await import('../infra/database/pglite.ts');
  return openPglite({ dataDir: join(dataDir, 'database') });
}

/** The broker at MQTT_URL. */
export function externalBroker(
  url: string,
  { BUS_PREFIX: prefix, PUBLISH_TIMEOUT_MS: publishTimeoutMs }: Config,
  log: Logger,
): Broker {
  const publisher = new ExternalPublisher({ url, prefix, log, publishTimeoutMs, use: 'notifications' });
  return { publisher, connect: connectTo(url), close: () => publisher.close() };
}

export async function openBroker(
  config: Config,
  log: Logger,
  { verifier, certificate }: ListenerOptions,
): Promise<Broker> {
  const { MQTT_URL, HOST: host, DATA_DIR: dataDir, MQTT_PORT: port, BUS_PREFIX: prefix } = config;
  if (MQTT_URL) return externalBroker(MQTT_URL, config, log);
  // Imported here, because a process with MQTT_URL does not need it.
  const { EmbeddedBroker } = await import('../infra/mqtt/embedded/broker.ts');
  const broker = await EmbeddedBroker.start({ dataDir, host, port, prefix, log, verifier, certificate });
  log.info(
    { url: `${certificate ? 'mqtts' : 'mqtt'}://${hostPort({ host, port: broker.port })}` },
    'MQTT broker embedded',
  );
  return {
    publisher: broker.publisher,
    connect: broker.connectInternal,
    attach: (server, admit) => broker.acceptWebSockets(server, admit),
    accept: (stream) => broker.acceptInternal(stream),
    close: () => broker.close(),
  };
}

async function openEmbedded(
  { PAYMENT_TIMEOUT_MS: timeoutMs, DATA_DIR: dataDir }: Config,
  database: Database,
  log: Logger,
) {
  // Imported here, because a process with PAYMENT_URL does not need it.
  const { openEmbeddedProvider, openExclusively } = await import('../simulators/payment-provider/embedded.ts');
  return openExclusively(database, log, () => openEmbeddedProvider({ dataDir, timeoutMs, log }));
}
