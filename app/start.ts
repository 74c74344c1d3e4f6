// What a process consists of, and in which order its parts start and stop: each part adds the step that ends it, and a
// stop takes the steps in the reverse order.
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { type ServiceName, SUBJECT_NAME, serviceNames } from '../contracts/services.ts';
import { vacuumLoops } from '../infra/database/vacuum.ts';
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
import { awaitDatabase, migrateSchemas, whenThere } from './prepare-database.ts';
import { openResources, type Resources } from './resources.ts';
import { schemaOf } from './schemas.ts';
import { ServiceRunner } from './service-runner.ts';

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
  /** Ends the start, however long a migration takes. Once it runs, stop() does. */
  readonly signal?: AbortSignal;
}

export interface RunningSluice {
  /** Where it answers HTTP. */
  readonly url: string;
  /** Stops the intake, finishes what is under way, closes everything. Rejects where that takes longer than allowed. */
  stop(): Promise<void>;
}

export interface RunningServices extends RunningSluice {
  readonly runners: readonly ServiceRunner[];
}

/**
 * Rejects with a ConfigError or a StartupError where something outside stops the start, and with the signal's reason
 * when that ended it.
 */
export async function startSluice(options: StartOptions): Promise<RunningServices> {
  const { env, services = serviceNames, signal = new AbortController().signal } = options;
  const startedAt = performance.now();
  const config = parseConfig(env, services);
  const mirror = new LogMirror(config.BUS_PREFIX);
  const pretty = config.LOG_FORMAT === 'pretty' || (config.LOG_FORMAT === 'auto' && process.stdout.isTTY === true);
  const log = createLog({ level: config.LOG_LEVEL, pretty, mirror, subjectName: SUBJECT_NAME });
  const metrics = new Metrics();
  const shutdown = new Shutdown(log);
  try {
    // The outside world, or what is embedded for it.
    const resources = await openResources(config, log);
    shutdown.add(() => resources.close());
    const { database, mqtt } = resources;
    mirror.start(mqtt);
    shutdown.add(() => mirror.stop());

    const interrupt = () => database.interrupt();
    signal.addEventListener('abort', interrupt);
    shutdown.add(async () => signal.removeEventListener('abort', interrupt));

    // The services, on schemas that are up to date. Nothing is opened on a database before it answers.
    const start = { config, log, signal };
    await awaitDatabase(database, start);
    const made: { name: ServiceName; outbox: Outbox; log: Logger; service: AnyService }[] = [];
    for (const name of services) {
      const outbox = new Outbox(schemaOf(name));
      const context = { settings: config, database, outbox, metrics, log: log.child({ service: name }) };
      const service = await whenThere(start, async () => factories[name](context, resources));
      made.push({ name, outbox, log: context.log, service });
    }
    const migrations = new Map(made.map(({ name, service }) => [name, service.migrations]));
    await migrateSchemas(database, start, migrations);
    if (database.kind === 'pglite') {
      const loops = vacuumLoops(database.background, services.map(schemaOf), log);
      for (const loop of loops) loop.start();
      shutdown.add(() => Promise.all(loops.map((loop) => loop.stop())));
    }

    // Messaging.
    const bus = await resources.openBus();
    shutdown.add(() => bus.close());
    const runners = made.map((each) => new ServiceRunner({ ...each, config, database, bus, mqtt, metrics }));
    // Added last, all intakes stop first: a relay may wait for an inbox that runs here.
    shutdown.add(() => Promise.all(runners.map((runner) => runner.stopRelays())));
    shutdown.add(() => Promise.all(runners.map((runner) => runner.stopIntake())));
    // What takes long would hold up the stop: it is done after the next start.
    shutdown.add(async () => database.interrupt());
    for (const runner of runners) await runner.start();

    // HTTP.
    const overload = new OverloadGuard({
      applies: (request) => runners.some(({ service }) => service.mayReject?.(request) ?? false),
    });
    shutdown.add(async () => overload.stop());
    const queues = resources.queues();
    const app = createApp(log, (router) => {
      for (const runner of runners) runner.routes(router);
      failedMessagesRoutes(router, runners);
      const stopping = () => shutdown.begun;
      operationsRoutes(router, { runners, database, bus, mqtt, queues, overload, metrics, stopping });
    });
    const http = await listen(overload.guard(app), config.HOST, config.PORT);
    resources.attach(http.server);
    shutdown.add(() => http.close());

    // Presence is announced last, when requests are accepted.
    const instance = `${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`;
    const presences = services.map(
      (service) => new Presence({ broker: resources.presence, prefix: config.BUS_PREFIX, service, instance, log }),
    );
    for (const presence of presences) presence.start();
    shutdown.add(() => Promise.all(presences.map((presence) => presence.stop())));
    const startMs = Math.round(performance.now() - startedAt);
    const what = { url: http.url, services, database: database.kind, bus: bus.kind, startMs };
    log.info(what, `ready on ${http.url}`);
    signal.removeEventListener('abort', interrupt);
    let stopped: Promise<void> | undefined;
    return {
      url: http.url,
      runners,
      stop: () => {
        stopped ??= shutdown.runWithin(config.STOP_TIMEOUT_MS).then(() => {
          log.info('stopped');
          log.flush();
        });
        return stopped;
      },
    };
  } catch (error) {
    await shutdown.run();
    signal.throwIfAborted();
    throw error;
  }
}
