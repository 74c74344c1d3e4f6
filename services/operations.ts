// The routes of whoever runs the system: health, readiness, metrics, failed messages. One per process.
import type { Router } from 'express';
import {
  type FailedMessage,
  failedMessagesQuery,
  MAX_RETRY_LIMIT,
  type Readiness,
  type ResourceState,
  type RetryPreview,
  type RetryResult,
  retryQuery,
} from '../contracts/operations.ts';
import { pageOf } from '../contracts/pages.ts';
import type { Bus } from '../infra/bus/port.ts';
import type { Database } from '../infra/database/port.ts';
import { route } from '../infra/http/app.ts';
import type { OverloadGuard } from '../infra/http/overload.ts';
import { notFound } from '../infra/http/problem.ts';
import { parse, parseId } from '../infra/http/validate.ts';
import type { Inbox } from '../infra/messaging/inbox.ts';
import type { FailedMessage as FailedRow, RetrySelection } from '../infra/messaging/inbox-store.ts';
import type { Metrics } from '../infra/metrics.ts';
import type { MqttPublisher } from '../infra/mqtt/port.ts';
import type { PacedQueues } from '../infra/queue/port.ts';
import type { ServiceHost } from './host.ts';

export interface OperationsOptions {
  readonly hosts: readonly ServiceHost[];
  readonly database: Database;
  readonly bus: Bus;
  readonly mqtt: MqttPublisher;
  /** Only where something is queued in this process. */
  readonly queues: PacedQueues | undefined;
  readonly overload: Pick<OverloadGuard, 'refused' | 'latenessMs'>;
  readonly metrics: Metrics;
  /** Whether a stop has begun. */
  readonly stopping: () => boolean;
}

/** The database must answer within this to count as there. */
const PING_TIMEOUT_MS = 1_000;

export function operationsRoutes(router: Router, options: OperationsOptions): void {
  const { hosts, database, bus, mqtt, queues, overload, metrics, stopping } = options;
  const hostOf = (name: unknown) => {
    const host = hosts.find((candidate) => candidate.name === name);
    if (!host)
      throw notFound(`service in this process; there are ${hosts.map((candidate) => candidate.name).join(', ')}`);
    return host;
  };

  route(router, '/healthz', {
    get: [
      (_request, response) => {
        const silent = hosts.filter(({ healthy }) => !healthy).map(({ name }) => name);
        response.status(silent.length === 0 ? 200 : 503).json({ status: silent.length === 0 ? 'up' : 'down', silent });
      },
    ],
  });

  route(router, '/readyz', {
    get: [
      async (_request, response) => {
        const states = {
          database: await ping(database),
          bus: bus.health(),
          mqtt: mqtt.health(),
          ...(queues ? { queues: queues.health() } : {}),
        };
        const consumers = Object.fromEntries(hosts.map((host) => [host.name, host.state()]));
        const ready = !stopping() && states.database.status === 'up';
        const allUp = [...Object.values(states), ...Object.values(consumers)].every(({ status }) => status === 'up');
        const readiness: Readiness = {
          status: ready ? (allUp ? 'up' : 'degraded') : 'down',
          resources: states,
          consumers,
        };
        if (!ready) response.set('Retry-After', '1');
        response.status(ready ? 200 : 503).json(readiness);
      },
    ],
  });

  route(router, '/metrics', {
    get: [
      async (_request, response) => {
        // While the database is away, its gauges keep their last value and the counters are still of use.
        await Promise.allSettled(hosts.map((host) => host.measure()));
        metrics.overload.reset();
        for (const [reason, count] of Object.entries(overload.refused)) metrics.overload.inc({ reason }, count);
        metrics.lateness.set(overload.latenessMs / 1_000);
        response.type(metrics.registry.contentType).send(await metrics.registry.metrics());
      },
    ],
  });

  route(router, '/failed-messages/:service', {
    get: [
      async (request, response) => {
        const { inbox } = hostOf(request.params.service);
        const { after, limit, ...filter } = parse(failedMessagesQuery, request.query);
        const rows = await inbox.rows.listFailed(database, filter, after, limit + 1);
        response.json(pageOf(rows.map(failedMessage), limit));
      },
    ],
  });

  route(router, '/failed-messages/:service/retry', {
    post: [
      async (request, response) => {
        const { inbox } = hostOf(request.params.service);
        const { dryRun, limit, ...selection } = parse(retryQuery, request.query);
        if (dryRun) {
          const preview: RetryPreview = await inbox.rows.countFailed(database, selection);
          response.json(preview);
          return;
        }
        // None twice: one that fails again while others are retried waits for the next call.
        const failedBefore = selection.failedBefore ?? (await inbox.rows.countFailed(database, selection)).asOf;
        response.status(202).json(await retryMany(database, inbox, { ...selection, failedBefore }, limit));
      },
    ],
  });

  // After /retry, which is no id.
  route(router, '/failed-messages/:service/:id', {
    get: [
      async (request, response) => {
        const { inbox } = hostOf(request.params.service);
        const row = await inbox.rows.findFailed(database, parseId(request.params.id, 'failed message'));
        if (!row) throw notFound('failed message');
        response.json(failedMessage(row));
      },
    ],
  });

  route(router, '/failed-messages/:service/:id/retry', {
    post: [
      async (request, response) => {
        const { inbox } = hostOf(request.params.service);
        const id = parseId(request.params.id, 'failed message');
        if ((await inbox.rows.retry(database, { id })) === 0) throw notFound('failed message');
        inbox.wake();
        response.status(202).json({ retried: 1 });
      },
    ],
  });
}

/** In statements of bounded size, also where no `limit` is given. */
async function retryMany(
  database: Database,
  inbox: Inbox,
  selection: RetrySelection,
  limit: number | undefined,
): Promise<RetryResult> {
  const batch = limit ?? MAX_RETRY_LIMIT;
  for (let retried = 0; ; ) {
    const now = await inbox.rows.retry(database, selection, batch);
    retried += now;
    inbox.wake();
    if (limit !== undefined) return { retried, left: (await inbox.rows.countFailed(database, selection)).matching };
    if (now < batch) return { retried };
  }
}

const failedMessage = (row: FailedRow): FailedMessage => ({
  id: row.message_id,
  type: row.type,
  subject: row.subject,
  status: row.status,
  attempts: row.attempts,
  error: row.error,
  nextAttemptAt: row.status === 'retrying' ? row.next_attempt_at.toISOString() : null,
  receivedAt: row.received_at.toISOString(),
  payload: Buffer.from(row.body ?? []).toString('utf8'),
});

async function ping(database: Database): Promise<ResourceState> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<ResourceState>((resolve) => {
    timer = setTimeout(resolve, PING_TIMEOUT_MS, { status: 'down', detail: `no answer in ${PING_TIMEOUT_MS} ms` });
  });
  const answer = database.query('SELECT 1').then(
    (): ResourceState => ({ status: 'up' }),
    (error): ResourceState => ({ status: 'down', detail: (error as Error).message }),
  );
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}
