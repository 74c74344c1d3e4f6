// 100,000 failed messages beside 500,000 done ones: a page of a list, of the groups and of a run of retries reads few
// rows, however many messages there are. Times are compared with that of counting all messages, because machines differ.
import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Database, Queryable } from '../../infra/database/port.ts';
import { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import { type Databases, databasePlaces } from '../setup/bus-fixtures.ts';
import { retryFailed } from '../setup/failed.ts';
import { createTables } from '../setup/group-consumer.ts';

const FAILED = 100_000;
const DONE = 500_000;
const GROUPS = 300;
const PAGE = 51;
const BATCH = 1_000;
/** How much longer than counting all messages a page may take, and a retry of a batch with the count of what is left. */
const MOST = { page: 10, retry: 15, slowestRetry: 45 };

describe.for(databasePlaces(inject('servers').databaseUrl))('on $place', ({ available, open }) => {
  const schema = `m_${randomUUID().replaceAll('-', '')}`;
  let databases: Databases;
  let failed: FailedMessages;
  /** Of each statement. */
  let reads: number[] = [];
  /** What counting all messages takes. */
  let countMs = 0;

  beforeAll(async () => {
    if (!available) return;
    databases = await open();
    const { database } = databases;
    await createTables(database, { name: 'points', schema });
    // One message each millisecond. Bodies of 400 bytes, as events have. Every tenth one is retrying.
    await database.longRunning.execute(
      `INSERT INTO ${schema}.inbox (message_id, type, subject, status, body, attempts, error, received_at, handled_at,
         next_attempt_at, error_group, dead_since)
       SELECT gen_random_uuid(), type, gen_random_uuid(), status, convert_to(repeat('x', 400), 'UTF8'), 5, error, at, at,
         at + interval '1 day', ${schema}.error_group(type, error), CASE status WHEN 'dead' THEN at END
       FROM (SELECT 'order.placed' AS type, CASE n % 10 WHEN 0 THEN 'retrying' ELSE 'dead' END AS status,
           now() - interval '1 day' + n * interval '1 ms' AS at,
           'cause ' || repeat('i', n % ${GROUPS}) || ' of order ' || gen_random_uuid() AS error
         FROM generate_series(1, ${FAILED}) AS n) AS message`,
    );
    await database.longRunning.execute(
      `INSERT INTO ${schema}.inbox (message_id, type, subject, status, attempts, next_attempt_at, received_at)
       SELECT gen_random_uuid(), 'order.placed', gen_random_uuid(), 'done', 1, NULL,
         now() - interval '1 day' + n * interval '1 ms' FROM generate_series(1, ${DONE}) AS n`,
    );
    await database.execute(`VACUUM ANALYZE ${schema}.inbox`); // as autovacuum does
    failed = new FailedMessages({ query: database.query, longRunning: counting(database) }, schema);
    ({ ms: countMs } = await timed(() => database.query(`SELECT count(*) FROM ${schema}.inbox`)));
    console.info(`count of all: ${Math.round(countMs)} ms`);
  }, 300_000);
  afterAll(() => databases?.close());

  /** The rows that this session has read so far. Its counters outlast a transaction. */
  async function readsSoFar(on: Queryable): Promise<number> {
    const [row] = await on.query<{ count: number }>(
      `SELECT (seq_tup_read + idx_tup_fetch)::integer AS count FROM pg_stat_xact_user_tables
       WHERE schemaname = $1 AND relname = 'inbox'`,
      [schema],
    );
    return row?.count ?? 0;
  }

  /** A database that counts the rows that each statement reads. */
  function counting(database: Database): Database {
    const measured = <T>(statement: (on: Queryable) => Promise<T>) =>
      database.longRunning.transaction(async (tx) => {
        const before = await readsSoFar(tx);
        const result = await statement(tx);
        reads.push((await readsSoFar(tx)) - before);
        return result;
      });
    return {
      ...database,
      query: (text, params) => measured((on) => on.query(text, params)),
      execute: (text, params) => measured((on) => on.execute(text, params)),
    };
  }

  /** What one of three calls at best takes, so that a pause of the machine does not count, and what each of them read. */
  async function timed(work: () => Promise<unknown>) {
    reads = [];
    let ms = Number.POSITIVE_INFINITY;
    for (let call = 0; call < 3; call++) {
      const startedAt = performance.now();
      await work();
      ms = Math.min(ms, performance.now() - startedAt);
    }
    return { ms, reads };
  }

  test.runIf(available)('a page of a list reads only its messages', async () => {
    let after: string | undefined;
    const list = await timed(async () => {
      const rows = await failed.list({}, after, PAGE);
      expect(rows).toHaveLength(PAGE);
      after = rows.at(-1)?.message_id;
    });
    for (const rows of list.reads) expect(rows).toBeLessThan(PAGE + 10);
    expect(list.ms).toBeLessThan(MOST.page * countMs);
    console.info(`list: ${Math.round(list.ms)} ms`);
  });

  test.runIf(available)('a list that matches nothing reads the failed messages, not the done ones', async () => {
    const none = await timed(async () =>
      expect(await failed.list({ error: 'no such error' }, undefined, PAGE)).toEqual([]),
    );
    for (const rows of none.reads) expect(rows).toBeLessThan(1.1 * FAILED);
    expect(none.ms).toBeLessThan(MOST.page * countMs);
    console.info(`list without a match: ${Math.round(none.ms)} ms`);
    expect(await failed.list({ status: 'discarded' }, undefined, PAGE)).toEqual([]);
    expect(reads.at(-1)).toBeLessThan(10);
  });

  test.runIf(available)('a page of groups reads no done message', async () => {
    let after: string | undefined;
    const groups = await timed(async () => {
      const page = await failed.groups(after, 100);
      expect(page).toHaveLength(100);
      after = page.at(-1)?.message_id;
    });
    for (const rows of groups.reads) expect(rows).toBeLessThan(1.1 * FAILED);
    expect(groups.ms).toBeLessThan(MOST.page * countMs);
    console.info(`groups: ${Math.round(groups.ms)} ms`);
    expect(await failed.groups(after, 100)).toEqual([]);
  });

  test.runIf(available)(
    'a run of retries reads no done message for each 1,000, up to the last',
    async () => {
      const run = uuidv7();
      const decision = { service: 'points', actor: { who: 'test', from: 'here' } };
      const options = { limit: BATCH, run, details: { run } };
      const { asOf } = await failed.count({});
      let [slowest, totalMs] = [0, 0];
      for (let retried = 0; retried < FAILED; retried += BATCH) {
        reads = [];
        const startedAt = performance.now();
        expect(await failed.actions.retryMany({ asOf }, options, decision)).toBe(BATCH);
        expect(await failed.count({ asOf, notOfRun: run })).toMatchObject({ matching: FAILED - retried - BATCH });
        const ms = performance.now() - startedAt;
        [slowest, totalMs] = [Math.max(slowest, ms), totalMs + ms];
        for (const rows of reads) expect(rows).toBeLessThan(1.2 * FAILED);
      }
      const averageMs = (totalMs * BATCH) / FAILED;
      console.info(`retry of ${BATCH} and count: ${Math.round(averageMs)} ms, at most ${Math.round(slowest)} ms`);
      expect(averageMs).toBeLessThan(MOST.retry * countMs);
      expect(slowest).toBeLessThan(MOST.slowestRetry * countMs);
      const progress = await timed(async () =>
        expect(await failed.progress(run)).toEqual({ waiting: FAILED, succeeded: 0, failed: 0 }),
      );
      expect(progress.ms).toBeLessThan(MOST.page * countMs);
      console.info(`progress: ${Math.round(progress.ms)} ms`);
      expect(await retryFailed(failed, {}, 1)).toBe(1);
    },
    300_000,
  );
});
