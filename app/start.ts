// The parts of a process and the order in which they start and stop.
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { type ServiceName, SUBJECT_NAME, serviceNames } from '../contracts/services.ts';
import type { Bus } from '../infra/bus/port.ts';
import { maintenanceLoop } from '../infra/database/pglite-maintenance.ts';
import { createApp } from '../infra/http/app.ts';
import { OverloadGuard } from '../infra/http/overload.ts';
import { listen } from '../infra/http/server.ts';
import { Outbox } from '../infra/messaging/outbox.ts';
import { Presence } from '../infra/mqtt/presence.ts';
import { createLog } from '../infra/observability/log.ts';
import { LogMirror } from '../infra/observability/log-mirror.ts';
import { Metrics } from '../infra/observability/metrics.ts';
import type { AnyService, ServiceContext } from '../infra/runtime/service.ts';
import { Shutdown } from '../infra/runtime/shutdown.ts';
import { couponService } from '../services/coupon/index.ts';
import { flashSaleService } from '../services/flash-sale/index.ts';
import { notifyService } from '../services/notify/index.ts';
import { orderService } from '../services/order/index.ts';
import { pointsService } from '../services/points/index.ts';
import { failedMessagesRoutes } from './admin/failed-messages.ts';
import { operationsRoutes } from './admin/operations.ts';
import { type Config, parseConfig } from './config.ts';
import { awaitDatabase, migrateSchemas, retryUntilAvailable } from './prepare-database.ts';
import { openResources, type Resources } from './resources.ts';
import { schemaOf } from './schemas.ts';
import { ServiceRunner, type ServiceRunnerOptions } from './service-runner.ts';

type Factory = (context: ServiceContext<Config>, resources: Resources) => AnyService | Promise<AnyService>;
const factories: Record<ServiceName, Factory> = {
  order: async (context, resources) => orderService({ ...context, payments: await resources.payments() }),
  points: pointsService,
  coupon: couponService,
  notify: notifyService,
  'flash-sale': async (context, resources) => flashSaleService({ ...context, queues: await resources.openQueues() }),
};

export interface StartOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly services?: readonly ServiceName[];
  /** Cancels the start, even during a long migration. After the start it has no effect: call stop(). */
  readonly signal?: AbortSignal;
}

export type RunningSluice = Pick<Sluice, 'url' | 'stop'>;

/**
 * Rejects with a ConfigError or a StartupError if the configuration or the environment prevents the start, and with the
 * signal's reason if the signal cancelled it.
 */
export async function startSluice(options: StartOptions): Promise<RunningSluice & Pick<Sluice, 'runners'>> {
  const sluice = new Sluice(options);
  await sluice.start();
  return sluice;
}

/** A service before it runs. */
type Created = Pick<ServiceRunnerOptions, 'name' | 'service' | 'outbox' | 'log'>;

/** Each part that starts adds the step that stops it; stop() runs the steps in reverse order. */
class Sluice {
  readonly #services: readonly ServiceName[];
  readonly #signal: AbortSignal;
  readonly #config: Config;
  readonly #mirror: LogMirror;
  readonly #log: Logger;
  readonly #metrics = new Metrics();
  readonly #shutdown: Shutdown;
  #runners: readonly ServiceRunner[] = [];
  #url = '';
  #stopped: Promise<void> | undefined;

  constructor({ env, services = serviceNames, signal = new AbortController().signal }: StartOptions) {
    this.#services = services;
    this.#signal = signal;
    this.#config = parseConfig(env, services);
    const { BUS_PREFIX, LOG_FORMAT, LOG_LEVEL } = this.#config;
    this.#mirror = new LogMirror(BUS_PREFIX);
    const pretty = LOG_FORMAT === 'pretty' || (LOG_FORMAT === 'auto' && process.stdout.isTTY === true);
    this.#log = createLog({ level: LOG_LEVEL, pretty, mirror: this.#mirror, subjectName: SUBJECT_NAME });
    this.#shutdown = new Shutdown(this.#log);
  }

  /** The URL of its HTTP server. */
  get url(): string {
    return this.#url;
  }

  get runners(): readonly ServiceRunner[] {
    return this.#runners;
  }

  async start(): Promise<void> {
    const startedAt = performance.now();
    try {
      const resources = await openResources(this.#config, this.#log);
      this.#shutdown.add(() => resources.close());
      this.#mirror.start(resources.mqtt);
      this.#shutdown.add(() => this.#mirror.stop());
      const { database } = resources;
      const interrupt = () => database.interrupt();
      this.#signal.addEventListener('abort', interrupt);
      try {
        const bus = await this.#startServices(resources);
        await this.#serveHttp(resources, bus);
        this.#announce(resources);
        const startMs = Math.round(performance.now() - startedAt);
        const facts = { url: this.#url, services: this.#services, database: database.kind, bus: bus.kind, startMs };
        this.#log.info(facts, `ready on ${this.#url}`);
      } finally {
        this.#signal.removeEventListener('abort', interrupt);
      }
    } catch (error) {
      await this.#shutdown.run();
      this.#signal.throwIfAborted();
      throw error;
    }
  }

  /** Stops the intake, finishes running work, closes everything. Rejects if that exceeds STOP_TIMEOUT_MS. */
  stop(): Promise<void> {
    this.#stopped ??= this.#shutdown.runWithin(this.#config.STOP_TIMEOUT_MS).then(() => {
      this.#log.info('stopped');
      this.#log.flush();
    });
    return this.#stopped;
  }

  /** Starts the services on schemas that are up to date. Resolves with the bus. */
  async #startServices(resources: Resources): Promise<Bus> {
    const { database, mqtt } = resources;
    const created = await this.#createServices(resources);
    if (database.kind === 'pglite') this.#startAll([maintenanceLoop(database.background, this.#log)]);
    const bus = await resources.openBus();
    this.#shutdown.add(() => bus.close());
    const runners = created.map(
      (each) => new ServiceRunner({ ...each, config: this.#config, database, bus, mqtt, metrics: this.#metrics }),
    );
    // Subscriptions, inboxes and the loops of services stop before any relay: a relay's publish to the local bus may
    // wait for an inbox of this process, and the inbox ends that wait when it stops.
    this.#shutdown.add(() => Promise.all(runners.map((runner) => runner.stopRelays())));
    this.#shutdown.add(() => Promise.all(runners.map((runner) => runner.stopIntake())));
    // Long-running statements would delay the stop. They run again after the next start.
    this.#shutdown.add(async () => database.interrupt());
    for (const runner of runners) await runner.start();
    this.#runners = runners;
    return bus;
  }

  /** Waits for the database, creates the services, and migrates their schemas. */
  async #createServices(resources: Resources): Promise<Created[]> {
    const { database } = resources;
    const startContext = { config: this.#config, log: this.#log, signal: this.#signal };
    await awaitDatabase(database, startContext);
    const created: Created[] = [];
    for (const name of this.#services) {
      const outbox = new Outbox(schemaOf(name));
      const log = this.#log.child({ service: name });
      const context = { settings: this.#config, database, outbox, metrics: this.#metrics, log };
      const service = await retryUntilAvailable(startContext, async () => factories[name](context, resources));
      created.push({ name, outbox, log, service });
    }
    await migrateSchemas(
      database,
      startContext,
      new Map(created.map(({ name, service }) => [name, service.migrations])),
    );
    return created;
  }

  /** Starts parts that stop together. */
  #startAll(parts: readonly { start(): void; stop(): Promise<unknown> }[]): void {
    for (const part of parts) part.start();
    this.#shutdown.add(() => Promise.all(parts.map((part) => part.stop())));
  }

  async #serveHttp(resources: Resources, bus: Bus): Promise<void> {
    const runners = this.#runners;
    const overload = new OverloadGuard({
      isSheddable: (request) => runners.some(({ service }) => service.isSheddable?.(request) ?? false),
    });
    this.#shutdown.add(async () => overload.stop());
    const app = createApp(this.#log, (router) => {
      for (const runner of runners) runner.routes(router);
      failedMessagesRoutes(router, runners);
      const stopping = () => this.#shutdown.begun;
      operationsRoutes(router, { runners, resources, bus, overload, metrics: this.#metrics, stopping });
    });
    const http = await listen(overload.guard(app), this.#config.HOST, this.#config.PORT);
    this.#shutdown.add(() => http.close());
    resources.attach(http.server);
    this.#url = http.url;
  }

  /** Announces the services on the MQTT broker, once they are reachable. */
  #announce({ presence: broker }: Resources): void {
    const instance = `${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`;
    const prefix = this.#config.BUS_PREFIX;
    this.#startAll(
      this.#services.map((service) => new Presence({ broker, prefix, service, instance, log: this.#log })),
    );
  }
}
