// The one entry: runs all services in this process, or those that are named.
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { migrate, readMigrations } from '../infra/database/migrate.ts';
import { type Database, DatabaseUnavailable } from '../infra/database/port.ts';
import { vacuumLoops } from '../infra/database/vacuum.ts';
import { createApp } from '../infra/http/app.ts';
import { OverloadGuard } from '../infra/http/overload.ts';
import { listen } from '../infra/http/server.ts';
import { Outbox } from '../infra/messaging/outbox.ts';
import { announce } from '../infra/mqtt/presence.ts';
import { createLog } from '../infra/observability/log.ts';
import { createLogMirror } from '../infra/observability/log-mirror.ts';
import { createMetrics } from '../infra/observability/metrics.ts';
import { type AnyService, type ServiceContext, schemaOf } from '../infra/runtime/service.ts';
import { StartupError } from '../infra/runtime/startup-error.ts';
import { couponService } from '../services/coupon/index.ts';
import { flashSaleService } from '../services/flash-sale/index.ts';
import { notifyService } from '../services/notify/index.ts';
import { orderService } from '../services/order/index.ts';
import { pointsService } from '../services/points/index.ts';
import { failedMessagesRoutes } from './admin/failed-messages.ts';
import { operationsRoutes } from './admin/operations.ts';
import { type Config, parseConfig, redactUrl } from './config.ts';
import { openResources, type Resources } from './resources.ts';
import { ServiceHost } from './service-runner.ts';

type Factory = (context: ServiceContext, resources: Resources) => AnyService | Promise<AnyService>;
const factories: Record<ServiceName, Factory> = {
  order: async (context, resources) => orderService({ ...context, payments: await resources.payments() }),
  points: pointsService,
  coupon: couponService,
  notify: notifyService,
  'flash-sale': async (context, resources) => flashSaleService({ ...context, queues: await resources.openQueues() }),
};

/** How long a start waits for a PostgreSQL that is itself starting. */
const DATABASE_WAIT_MS = 30_000;
const MESSAGING_MIGRATIONS = new URL('../infra/messaging/migrations/', import.meta.url);

export interface RunningSluice {
  /** Where it answers HTTP. */
  readonly url: string;
  /** Stops the intake, finishes what is under way, closes everything. Rejects where that takes longer than allowed. */
  stop(): Promise<void>;
}

/** One process in which a service can be stopped and started apart from the others, for demonstrations. */
export interface RunningServices extends RunningSluice {
  /**
   * Ends the service's part on the bus: it takes in nothing and publishes nothing, and what is for it waits. Its routes go
   * on answering. Only for services without loops of their own, which run as long as the process.
   */
  stopService(name: ServiceName): Promise<void>;
  /** Starts again what stopService ended. */
  startService(name: ServiceName): Promise<void>;
}

export interface StartOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly services?: readonly ServiceName[];
}

/** Rejects with a ConfigError or a StartupError where something outside stops the start. */
export async function startSluice({ env, services = serviceNames }: StartOptions): Promise<RunningServices> {
  const startedAt = performance.now();
  const config = parseConfig(env, services);
  const mirror = createLogMirror(config.BUS_PREFIX);
  const pretty = config.LOG_FORMAT === 'pretty' || (config.LOG_FORMAT === 'auto' && process.stdout.isTTY === true);
  const log = createLog({ level: config.LOG_LEVEL, pretty, mirror });

  // Ends what was started, in the reverse order: a start that fails leaves nothing behind.
  const ends: (() => Promise<unknown> | undefined)[] = [];
  const end = async () => {
    for (const step of ends.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        // The others are still to be ended; what is not finished is taken up after the next start.
        log.warn({ error: String(error) }, 'not ended cleanly');
      }
    }
  };
  try {
    const resources = await openResources(config, log);
    ends.push(() => resources.close());
    mirror.start(resources.mqtt);
    ends.push(() => mirror.close());
    const { database, mqtt } = resources;

    const metrics = createMetrics();
    // Before anything is opened on it: a PostgreSQL that is itself starting is waited for.
    await whenThere(config, log, async () => {
      await database.query('SELECT 1');
    });
    const prepared: { name: ServiceName; outbox: Outbox; log: Logger; service: AnyService }[] = [];
    for (const name of services) {
      const outbox = new Outbox(schemaOf(name));
      const serviceLog = log.child({ service: name });
      const service = await factories[name]({ config, database, outbox, metrics, log: serviceLog }, resources);
      prepared.push({ name, outbox, log: serviceLog, service });
    }
    await bringUpToDate(database, config, new Map(prepared.map(({ name, service }) => [name, service])), log);

    if (database.kind === 'pglite') {
      const loops = vacuumLoops(database.background, services.map(schemaOf), log);
      for (const loop of loops) loop.start();
      ends.push(() => Promise.all(loops.map((loop) => loop.stop())));
    }
    const queues = resources.queues();
    const bus = await resources.openBus();
    ends.push(() => bus.close());
    const hostOf = (each: (typeof prepared)[number]) =>
      new ServiceHost({ ...each, config, database, bus, mqtt, metrics });
    const hosts = prepared.map(hostOf);
    // All intakes first: a relay may wait for an inbox that runs here.
    ends.push(() => Promise.all(hosts.map((host) => host.stopRelays())));
    ends.push(() => Promise.all(hosts.map((host) => host.stopIntake())));
    for (const host of hosts) await host.start();

    const overload = new OverloadGuard({
      applies: (request) => prepared.some(({ service }) => service.mayRefuse?.(request) ?? false),
    });
    ends.push(async () => overload.stop());
    let stopping = false;
    const app = createApp(log, (router) => {
      for (const host of hosts) host.routes(router);
      failedMessagesRoutes(router, hosts);
      operationsRoutes(router, { hosts, database, bus, mqtt, queues, overload, metrics, stopping: () => stopping });
    });
    const http = await listen(overload.guard(app), config.HOST, config.PORT);
    resources.attach(http.server);
    ends.push(() => http.close());

    const instance = `${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`;
    const presences = services.map((service) =>
      announce({ broker: resources.presence, prefix: config.BUS_PREFIX, service, instance, log }),
    );
    ends.push(() => Promise.all(presences.map((presence) => presence.close())));

    log.info(
      {
        url: http.url,
        services,
        database: database.kind,
        bus: bus.kind,
        startMs: Math.round(performance.now() - startedAt),
      },
      `ready on ${http.url}`,
    );
    const away = new Set<ServiceName>();
    let stopped: Promise<void> | undefined;
    return {
      url: http.url,
      stopService: async (name) => {
        const index = prepared.findIndex((each) => each.name === name);
        const host = hosts[index];
        if (!host || away.has(name)) throw new RangeError(`${name} does not run here`);
        if (prepared[index]?.service.loops?.length) throw new RangeError(`${name} has loops of its own`);
        away.add(name);
        await host.stopIntake();
        await host.stopRelays();
      },
      startService: async (name) => {
        const index = prepared.findIndex((each) => each.name === name);
        const each = prepared[index];
        if (!each || !away.has(name)) throw new RangeError(`${name} is not stopped here`);
        const host = hostOf(each);
        hosts[index] = host; // the operations' routes look there
        await host.start();
        away.delete(name);
      },
      stop: () => {
        stopping = true;
        stopped ??= within(config.STOP_TIMEOUT_MS, end()).then(() => {
          log.info('stopped');
          log.flush();
        });
        return stopped;
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/**
 * Migrates the schemas of the services that run here. With the local bus also the inboxes of the others, as publishing
 * writes into them: an event is never published before there is a place for it.
 */
async function bringUpToDate(
  database: Database,
  config: Config,
  services: ReadonlyMap<ServiceName, AnyService>,
  log: Logger,
): Promise<void> {
  const messaging = await readMigrations(MESSAGING_MIGRATIONS, 'messaging');
  await whenThere(config, log, async () => {
    for (const name of serviceNames) {
      const service = services.get(name);
      if (!service && config.busKind !== 'local') continue;
      const own = service ? await readMigrations(service.migrations, name) : [];
      await migrate(database, schemaOf(name), [...messaging, ...own]);
    }
  });
}

async function whenThere(config: Config, log: Logger, work: () => Promise<void>): Promise<void> {
  const url = redactUrl(config.DATABASE_URL ?? config.DATA_DIR);
  const deadline = performance.now() + DATABASE_WAIT_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable)) {
        throw new StartupError(`the database at ${url} cannot be prepared: ${(error as Error).message}`, {
          cause: error,
        });
      }
      // A wrong password or a database that does not exist will not mend itself: SQLSTATE classes 28 and 3D.
      const { code } = (error.cause ?? {}) as { code?: unknown };
      const hopeless = typeof code === 'string' && /^(28|3D)/.test(code);
      if (hopeless || performance.now() > deadline) {
        throw new StartupError(`the database at ${url} does not answer (DATABASE_URL): ${error.message}`, {
          cause: error,
        });
      }
      log.warn({ error: error.message }, 'waiting for the database');
      await delay(500);
    }
  }
}

async function within(timeoutMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new StartupError(
            `the stop took longer than STOP_TIMEOUT_MS=${timeoutMs}: what was not finished is done after the next start`,
          ),
        ),
      timeoutMs,
    );
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}
