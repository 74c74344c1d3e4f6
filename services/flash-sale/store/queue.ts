// The flash-sale service's SQL of the drain: the sales that need a job queue, and the tickets that need a job in it.
import type { Database } from '../../../infra/database/port.ts';
import { SCHEMA } from './sales.ts';

export interface DrainableSale {
  readonly id: string;
  readonly drainPerSecond: number;
  readonly queued: number;
  /** Tickets that are no longer queued. */
  readonly processed: number;
}

/**
 * A job queue is opened this long before its sale, because that takes a dozen statements, which would compete with the
 * first buyers.
 */
const LEAD = "interval '2 seconds'";

/** A sale with queued tickets, or one that is open or about to, and opened or admitted a buyer within ten minutes. */
const NEEDS_JOB_QUEUE = `(queued > 0
  OR (opens_at <= now() + ${LEAD} AND (closes_at IS NULL OR closes_at > now())
    AND GREATEST(opens_at, last_admission_at) > now() - interval '10 minutes'))`;

/** Sales that need a job queue, at most `limit`; those with queued tickets first. */
export function listDrainable(database: Database, limit: number): Promise<DrainableSale[]> {
  return database.query<DrainableSale>(
    `SELECT id, drain_per_second AS "drainPerSecond", queued, admitted - queued AS processed FROM ${SCHEMA}.sales
     WHERE ${NEEDS_JOB_QUEUE} ORDER BY (queued > 0) DESC, opens_at LIMIT $1`,
    [limit],
  );
}

/**
 * The query for the time at which listDrainable() next finds a sale: now if it finds one already, otherwise shortly
 * before the next opening.
 */
export const NEXT_OPENING = `SELECT CASE WHEN EXISTS (SELECT FROM ${SCHEMA}.sales WHERE ${NEEDS_JOB_QUEUE}) THEN now()
  ELSE (SELECT min(opens_at) - ${LEAD} FROM ${SCHEMA}.sales WHERE opens_at > now()) END AS due`;

/** Records that the queue server may hold a sale's job queue; to be called before the job queue is opened. */
export const markJobQueueOpened = (database: Database, saleId: string) =>
  database.execute(`UPDATE ${SCHEMA}.sales SET has_queue = true WHERE id = $1 AND NOT has_queue`, [saleId]);

/**
 * Sales that need no job queue although the queue server may hold one, or although they are among `closed`; at most
 * `limit`, in random order, so that job queues that cannot be removed do not delay the others.
 */
export async function listObsoleteJobQueues(database: Database, closed: readonly string[], limit: number) {
  const rows = await database.query<{ id: string }>(
    `SELECT id FROM ${SCHEMA}.sales WHERE (has_queue OR id = ANY($2::uuid[])) AND NOT ${NEEDS_JOB_QUEUE}
     ORDER BY random() LIMIT $1`,
    [limit, closed],
  );
  return rows.map(({ id }) => id);
}

/** Records that a sale's job queue is removed, unless the sale needs one again. */
export const markJobQueueRemoved = (database: Database, saleId: string) =>
  database.execute(`UPDATE ${SCHEMA}.sales SET has_queue = false WHERE id = $1 AND NOT ${NEEDS_JOB_QUEUE}`, [saleId]);

/**
 * Marks those of a sale's first `headCount` queued tickets that need jobs as enqueued for `forMs`, and returns their
 * ids in the order of the sale's queue. Two processes never get the same ticket.
 */
export async function enqueue(database: Database, saleId: string, head: { headCount: number; forMs: number }) {
  const rows = await database.query<{ id: string; number: number }>(
    `WITH head AS MATERIALIZED (
       SELECT id, enqueued_until FROM ${SCHEMA}.tickets
       WHERE sale_id = $1 AND status = 'queued' ORDER BY number LIMIT $2
     ), needs_job AS MATERIALIZED (
       SELECT id FROM ${SCHEMA}.tickets
       WHERE id IN (SELECT id FROM head WHERE enqueued_until <= now()) AND status = 'queued' AND enqueued_until <= now()
       FOR UPDATE SKIP LOCKED
     )
     UPDATE ${SCHEMA}.tickets AS t SET enqueued_until = now() + $3::float8 * interval '1 ms'
     FROM needs_job WHERE t.id = needs_job.id
     RETURNING t.id, t.number`,
    [saleId, head.headCount, head.forMs],
  );
  return rows.sort((a, b) => a.number - b.number).map(({ id }) => id);
}

/**
 * Records that these tickets have no job: those that are still queued need one. Locks them in the order of their ids,
 * because another process may run jobs of the same tickets.
 */
export const dequeue = (database: Database, ids: readonly string[]) =>
  database.execute(
    `WITH ticket AS MATERIALIZED (
       SELECT id, status FROM ${SCHEMA}.tickets WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
     )
     UPDATE ${SCHEMA}.tickets AS t SET enqueued_until = '-infinity'
     FROM ticket WHERE t.id = ticket.id AND ticket.status = 'queued'`,
    [ids],
  );

/** Records that no ticket of a sale has a job. Skips tickets that a running job has locked. */
export const dequeueAll = (database: Database, saleId: string) =>
  database.execute(
    `WITH enqueued AS MATERIALIZED (
       SELECT id FROM ${SCHEMA}.tickets
       WHERE sale_id = $1 AND status = 'queued' AND enqueued_until > '-infinity' FOR UPDATE SKIP LOCKED
     )
     UPDATE ${SCHEMA}.tickets AS t SET enqueued_until = '-infinity' FROM enqueued WHERE t.id = enqueued.id`,
    [saleId],
  );
