// Paced queues for tests.
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { openPostgres } from '../../infra/database/postgres.ts';
import { type OpenQueuesOptions, openQueues } from '../../infra/queue/index.ts';
import type { PacedQueue, PacedQueueOptions, PacedQueues } from '../../infra/queue/port.ts';
import { cleanUps } from './clean-ups.ts';
import { freshPrefix } from './wait.ts';

const log = pino({ level: 'silent' });

/** Opens queues on PostgreSQL without keeping any other connection. */
export async function openOnPostgres(url: string): Promise<PacedQueues> {
  const database = openPostgres({ url, poolSize: 1, log });
  try {
    return await open({ postgresUrl: url, database });
  } finally {
    await database.close();
  }
}

export async function open(on: OpenQueuesOptions['on'], prefix = freshPrefix()): Promise<PacedQueues> {
  const queues = await openQueues({ on, prefix, log });
  cleanUps.push(() => queues.close());
  return queues;
}

/** Opens a queue that records its runs, until the end of the test. */
export async function openQueue(queues: PacedQueues, options: Partial<PacedQueueOptions> = {}) {
  const runs: string[] = [];
  const beganAt: number[] = [];
  const failed: { id: string; error: Error }[] = [];
  const { work = async () => {} } = options;
  const queue: PacedQueue = await queues.open({
    name: 'q',
    perSecond: 1000,
    onLastFailure: (id, error) => failed.push({ id, error }),
    ...options,
    work: (id) => {
      runs.push(id);
      beganAt.push(performance.now());
      return work(id);
    },
  });
  cleanUps.push(() => queue.close());
  return { queue, runs, beganAt, failed };
}

export const uuids = (count: number): string[] => Array.from({ length: count }, () => randomUUID());

/** Every key in Redis that starts with `beginning`. */
export async function keysOf(client: Redis, beginning: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const some of client.scanStream({ match: `${beginning}*`, count: 1_000 }))
    keys.push(...(some as string[]));
  return keys;
}

/** The tables of BullMQ that have rows of a queue whose name starts with `beginning`, and the number of rows. */
export async function rowsOf(query: (sql: string) => Promise<unknown[]>, beginning: string): Promise<string[]> {
  const tables = (await query(
    `SELECT table_name AS name FROM information_schema.columns WHERE table_schema = 'bullmq' AND column_name = 'queue'`,
  )) as { name: string }[];
  if (tables.length === 0) throw new Error('BullMQ has no tables');
  const left: string[] = [];
  for (const { name } of tables) {
    const sql = `SELECT count(*)::int AS rows FROM bullmq.${name} WHERE starts_with(queue, '${beginning}')`;
    const [found] = (await query(sql)) as { rows: number }[];
    if (found && found.rows > 0) left.push(`${name}: ${found.rows} rows`);
  }
  return left;
}
