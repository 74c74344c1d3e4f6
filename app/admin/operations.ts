// Health, readiness and metrics of this process.
import type { Health, LoopState, Readiness, ResourceState } from '../../contracts/operations.ts';
import { processRoutes } from '../../contracts/routes/operations.ts';
import { mayUse } from '../../infra/access/caller.ts';
import type { Database } from '../../infra/database/port.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import { callerOf } from '../../infra/http/authentication.ts';
import type { OverloadGuard } from '../../infra/http/overload.ts';
import { sendText } from '../../infra/http/send.ts';
import { type Metrics, setOrRemove } from '../../infra/observability/metrics.ts';
import { failingWork } from '../../infra/runtime/failure-streak.ts';
import { within } from '../../infra/runtime/promises.ts';
import type { ServiceRunner } from '../service-runner.ts';

export interface OperationsOptions {
  readonly runners: readonly ServiceRunner[];
  readonly database: Pick<Database, 'query'>;
  /** The states of the other resources; those that do not respond are down. */
  readonly resources: () => Promise<Readiness['resources']>;
  /** The degraded loops of other threads, which are added. */
  readonly otherLoops: () => Promise<readonly LoopState[]>;
  readonly overload: Pick<OverloadGuard, 'rejected' | 'lagMs'>;
  readonly metrics: Metrics;
  /** The metrics of other threads, which are added. */
  readonly otherMetrics: () => Promise<readonly object[]>;
  /** False until the process is warm, and once a stop has begun. */
  readonly serving: () => boolean;
}

/** A database that takes longer to respond counts as down. */
const PING_TIMEOUT_MS = 1_000;

export function serveOperations(api: Api, options: OperationsOptions): void {
  const { runners, database, resources, otherLoops, overload, metrics, otherMetrics, serving } = options;

  api.handle(processRoutes.readHealth, async () => {
    const healthy = await Promise.all(runners.map((runner) => runner.isHealthy()));
    const stalled = runners.filter((_, index) => !healthy[index]).map(({ name }) => name);
    const isUp = stalled.length === 0;
    const body: Health = { status: isUp ? 'up' : 'down', stalled };
    return reply(isUp ? 200 : 503, body);
  });

  api.handle(processRoutes.readReadiness, async (_input, request) => {
    const [databaseState, others, loopsThere, consumers] = await Promise.all([
      ping(database),
      resources(),
      otherLoops(),
      Promise.all(runners.map(async (runner) => [runner.name, await runner.state()] as const)),
    ]);
    const states: Readiness['resources'] = { database: databaseState, ...others };
    const ready = serving() && databaseState.status === 'up';
    const loops = [...degradedLoops(), ...loopsThere];
    const allUp = [...Object.values(states), ...consumers.map(([, state]) => state), ...loops].every(
      (state) => state?.status === 'up',
    );
    const status = ready ? (allUp ? 'up' : 'degraded') : 'down';
    // Everybody may know whether the process is ready; the rest tells of its inside.
    const body: Readiness = mayUse(callerOf(request), 'service')
      ? { status, resources: states, consumers: Object.fromEntries(consumers), loops }
      : { status, resources: {}, consumers: {}, loops: [] };
    return ready ? reply(200, body) : reply(503, body, { 'Retry-After': '1' });
  });

  api.handle(processRoutes.readMetrics, async (_input, _request, response) => {
    const [others] = await Promise.all([otherMetrics(), ...runners.map((runner) => runner.measure())]);
    metrics.overload.reset();
    for (const [reason, count] of Object.entries(overload.rejected)) metrics.overload.inc({ reason }, count);
    const { lagMs } = overload;
    setOrRemove(metrics.eventLoopLag, {}, lagMs === undefined ? undefined : lagMs / 1_000);
    sendText(response, 200, { 'Content-Type': metrics.registry.contentType }, await metrics.text(others));
    return undefined;
  });
}

/** The degraded loops of this thread. */
export const degradedLoops = (): LoopState[] =>
  failingWork().map(({ service = null, name: loop, failures, forMs, error }) => {
    const failingSince = new Date(Date.now() - forMs).toISOString();
    return { service, loop, status: 'degraded', failures, failingSince, error };
  });

const ping = (database: Pick<Database, 'query'>): Promise<ResourceState> =>
  within(PING_TIMEOUT_MS, database.query('SELECT 1')).then(
    () => ({ status: 'up' }),
    () => ({ status: 'down', detail: 'no response' }), // the parts that use the database log the error
  );
