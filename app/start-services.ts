// The services that run in one thread: created, migrated, started and stopped together.
import type { Logger } from 'pino';
import type { ServiceName } from '../contracts/services.ts';
import type { Bus } from '../infra/bus/port.ts';
import { maintenanceLoop } from '../infra/database/pglite-maintenance.ts';
import { Outbox } from '../infra/messaging/outbox.ts';
import type { Metrics } from '../infra/observability/metrics.ts';
import type { AnyService, Role, ServiceContext } from '../infra/runtime/service.ts';
import type { Shutdown } from '../infra/runtime/shutdown.ts';
import { couponService } from '../services/coupon/index.ts';
import { flashSaleService } from '../services/flash-sale/index.ts';
import { notifyService } from '../services/notify/index.ts';
import { orderService } from '../services/order/index.ts';
import { pointsService } from '../services/points/index.ts';
import type { Config } from './config.ts';
import { awaitDatabase, migrateSchemas, retryUntilAvailable } from './prepare-database.ts';
import type { Resources } from './resources.ts';
import { schemaOf } from './schemas.ts';
import { type RemoteWorker, ServiceRunner, type ServiceRunnerOptions } from './service-runner.ts';
import { StoppableServices } from './stoppable-services.ts';

type Factory = (
  context: ServiceContext<Config>,
  resources: Resources,
  roles: readonly Role[],
) => AnyService | Promise<AnyService>;
const factories: Record<ServiceName, Factory> = {
  order: async (context, resources) => orderService({ ...context, payments: await resources.payments() }),
  points: pointsService,
  coupon: couponService,
  notify: notifyService,
  'flash-sale': async (context, resources, roles) =>
    flashSaleService({
      ...context,
      queues: roles.includes('worker') ? await resources.openQueues(context.log) : undefined,
    }),
};

export interface StartServicesOptions {
  readonly config: Config;
  readonly services: readonly ServiceName[];
  readonly roles: readonly Role[];
  readonly resources: Resources;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Cancels the start. */
  readonly signal: AbortSignal;
  /** Each part that starts adds the step that stops it. */
  readonly shutdown: Shutdown;
}

/** A service before it runs. */
type Created = Pick<ServiceRunnerOptions, 'name' | 'service' | 'outbox' | 'log'>;

export interface StartedServices {
  readonly runners: readonly ServiceRunner[];
  readonly bus: Bus;
  readonly stoppable: StoppableServices;
}

/** Waits for the database, migrates the schemas of the services, opens the bus and starts the services. */
export async function startServices(options: StartServicesOptions): Promise<StartedServices> {
  const { config, roles, resources, metrics, log, signal, shutdown } = options;
  const { database, mqtt } = resources;
  const startContext = { config, log, signal };
  await awaitDatabase(database, startContext);
  const created = await createServices(options);
  const migrations = new Map(created.map(({ name, service }) => [name, service.migrations]));
  await migrateSchemas(database, startContext, migrations);
  if (database.kind === 'pglite') {
    const maintenance = maintenanceLoop(database.background, log);
    maintenance.start();
    shutdown.add(() => maintenance.stop());
  }
  const bus = await resources.openBus();
  shutdown.add(() => bus.close());
  const runners = created.map(
    (each) => new ServiceRunner({ ...each, roles, config, database, mqtt, metrics, through: { bus } }),
  );
  // Subscriptions, inboxes and the loops of services stop before any relay: a relay's publish to the local bus may
  // wait for an inbox of this process, and the inbox ends that wait when it stops.
  shutdown.add(() => Promise.all(runners.map((runner) => runner.stopRelays())));
  shutdown.add(() => Promise.all(runners.map((runner) => runner.stopReceiving())));
  signal.throwIfAborted();
  // At the same time, because each of them may wait ten seconds for a broker that accepts connections and is silent.
  const starts = await Promise.allSettled(runners.map((runner) => runner.start()));
  for (const start of starts) if (start.status === 'rejected') throw start.reason;
  signal.throwIfAborted();
  return { runners, bus, stoppable: new StoppableServices(runners) };
}

/** Starts the web role of services whose worker is another thread of this process. */
export async function startWebServices(options: StartServicesOptions, worker: RemoteWorker): Promise<ServiceRunner[]> {
  const { config, resources, metrics, shutdown } = options;
  const { database, mqtt } = resources;
  const roles = ['web'] as const;
  const created = await createServices({ ...options, roles }, worker);
  const runners = created.map(
    (each) => new ServiceRunner({ ...each, roles, config, database, mqtt, metrics, through: { worker } }),
  );
  shutdown.add(() => Promise.all(runners.map((runner) => runner.stopReceiving())));
  for (const runner of runners) await runner.start();
  return runners;
}

async function createServices(options: StartServicesOptions, worker?: RemoteWorker): Promise<Created[]> {
  const { config, services, roles, resources, metrics, log } = options;
  const created: Created[] = [];
  for (const name of services) {
    const outbox = new Outbox(schemaOf(name));
    const serviceLog = log.child({ service: name });
    let service: AnyService | undefined;
    const wakeWorker = () => (worker ? worker.wakeService(name) : service?.wake?.());
    const context = { settings: config, database: resources.database, outbox, metrics, log: serviceLog, wakeWorker };
    service = await retryUntilAvailable(options, async () => factories[name](context, resources, roles));
    created.push({ name, outbox, log: serviceLog, service });
  }
  return created;
}
