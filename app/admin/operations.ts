// Health, readiness and metrics of this process.
import type { RequestHandler, Router } from 'express';
import type { Readiness, ResourceState } from '../../contracts/operations.ts';
import type { Bus } from '../../infra/bus/port.ts';
import type { Database } from '../../infra/database/port.ts';
import { route } from '../../infra/http/app.ts';
import type { OverloadGuard } from '../../infra/http/overload.ts';
import { type Metrics, setOrRemove } from '../../infra/observability/metrics.ts';
import { within } from '../../infra/runtime/promises.ts';
import type { Resources } from '../resources.ts';
import type { ServiceRunner } from '../service-runner.ts';

export interface OperationsOptions {
  readonly runners: readonly ServiceRunner[];
  readonly resources: Pick<Resources, 'database' | 'mqtt' | 'queues'>;
  readonly bus: Bus;
  readonly overload: Pick<OverloadGuard, 'rejected' | 'lagMs'>;
  readonly metrics: Metrics;
  /** Whether a stop has begun. */
  readonly stopping: () => boolean;
}

/** A database that takes longer to answer counts as down. */
const PING_TIMEOUT_MS = 1_000;

export function operationsRoutes(router: Router, options: OperationsOptions): void {
  const { runners, resources, bus, overload, metrics, stopping } = options;
  const get = (path: string, handler: RequestHandler) => route(router, path, { get: handler });

  get('/healthz', (_request, response) => {
    const stalled = runners.filter(({ healthy }) => !healthy).map(({ name }) => name);
    const isUp = stalled.length === 0;
    response.status(isUp ? 200 : 503).json({ status: isUp ? 'up' : 'down', stalled });
  });

  get('/readyz', async (_request, response) => {
    const { database, mqtt, queues } = resources;
    const states = {
      database: await ping(database),
      bus: bus.health(),
      mqtt: mqtt.health(),
      ...(queues && { queues: queues.health() }),
    };
    const consumers = Object.fromEntries(
      await Promise.all(runners.map(async (runner) => [runner.name, await runner.state()] as const)),
    );
    const ready = !stopping() && states.database.status === 'up';
    const allUp = [...Object.values(states), ...Object.values(consumers)].every(({ status }) => status === 'up');
    const status = ready ? (allUp ? 'up' : 'degraded') : 'down';
    if (!ready) response.set('Retry-After', '1');
    response.status(ready ? 200 : 503).json({ status, resources: states, consumers } satisfies Readiness);
  });

  get('/metrics', async (_request, response) => {
    await Promise.all(runners.map((runner) => runner.measure()));
    metrics.overload.reset();
    for (const [reason, count] of Object.entries(overload.rejected)) metrics.overload.inc({ reason }, count);
    const { lagMs } = overload;
    setOrRemove(metrics.eventLoopLag, {}, lagMs === undefined ? undefined : lagMs / 1_000);
    response.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });
}

const ping = (database: Database): Promise<ResourceState> =>
  within(PING_TIMEOUT_MS, database.query('SELECT 1')).then(
    () => ({ status: 'up' }),
    () => ({ status: 'down', detail: 'no answer' }), // the parts that use the database log the error
  );
