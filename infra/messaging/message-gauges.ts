// The gauges of a service's outbox, inbox and workers, from one statement.
import type { Queryable } from '../database/port.ts';
import { MAX_COUNT } from '../database/sql.ts';
import type { Metrics } from '../observability/metrics.ts';
import { type GaugeSample, sampleOf } from '../observability/stored-gauges.ts';
import { channels } from './outbox.ts';
import { messagesByPlace, type Place, placesOf } from './stored-messages.ts';
import { workersOf } from './worker-heartbeat.ts';

export interface MessageGaugesOptions {
  readonly metrics: Metrics;
  readonly service: string;
  /** One of our own names, never input. */
  readonly schema: string;
  /** Whether the worker of the embedded system works: it has one process, whose worker stores no heartbeat. */
  readonly embeddedWorks?: boolean | undefined;
}

/** Reads the gauges. Rejects with DatabaseUnavailable. */
export async function readMessageGauges(
  database: Queryable,
  { metrics, service, schema, embeddedWorks }: MessageGaugesOptions,
): Promise<GaugeSample[]> {
  const rows = await database.query<Place>(`${placesOf(schema, MAX_COUNT)} UNION ALL ${workersOf(schema)}`);
  const { outbox, inbox } = messagesByPlace(rows);
  const { pending, retrying, dead } = inbox;
  const { rows: workers = 0, oldestMs: beatMs = null } = embeddedWorks
    ? { rows: 1, oldestMs: 0 }
    : (rows.find(({ place }) => place === 'workers') ?? {});
  const secondsOf = (...ages: readonly (number | null)[]) => Math.max(0, ...ages.map((age) => (age ?? 0) / 1_000));
  return [
    ...channels.flatMap((channel) => [
      sampleOf(metrics.outbox, outbox[channel].rows, { service, channel }),
      sampleOf(metrics.outboxOldest, secondsOf(outbox[channel].oldestMs), { service, channel }),
    ]),
    sampleOf(metrics.inboxOldest, secondsOf(pending.oldestMs, retrying.oldestMs), { service }),
    sampleOf(metrics.failed, retrying.rows, { service, status: 'retrying' }),
    sampleOf(metrics.failed, dead.rows, { service, status: 'dead' }),
    sampleOf(metrics.workers, workers, { service }),
    ...(beatMs === null ? [] : [sampleOf(metrics.heartbeatAge, secondsOf(beatMs), { service })]),
  ];
}
