// The guarantees of infra/queue/port.ts, for each server behind it. test/long/queue-outages.test.ts kills the server
// and the workers.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { migrate } from '../../infra/database/migrate.ts';
import { openPglite } from '../../infra/database/pglite.ts';
import type { Database } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import type { OpenQueuesOptions } from '../../infra/queue/index.ts';
import { within } from '../../infra/runtime/promises.ts';
import { cleanUp, cleanUps } from '../setup/clean-ups.ts';
import { newPglite } from '../setup/pglite.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { keysOf, open, openOnPostgres, openQueue, rowsOf, uuids } from '../setup/queues.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const { databaseUrl, redisUrl } = inject('servers');
const log = pino({ level: 'silent' });

/** A server for queues. */
interface Place {
  readonly on: OpenQueuesOptions['on'];
  /** The keys or rows of the queues with this prefix. */
  left(prefix: string): Promise<string[]>;
  /** Pauses the queue like the first step of a removal. */
  pause(prefix: string, name: string): Promise<unknown>;
  remove(): Promise<void>;
}

async function redisPlace(): Promise<Place> {
  const client = new Redis(String(redisUrl));
  return {
    on: { redisUrl: String(redisUrl) },
    left: (prefix) => keysOf(client, `${prefix}:`),
    pause: (prefix, name) => client.hset(`${prefix}:${name}:meta`, 'paused', 1),
    remove: async () => client.disconnect(),
  };
}

async function postgresPlace(): Promise<Place> {
  const { url, drop } = await freshDatabase(String(databaseUrl));
  const database = openPostgres({ url, poolSize: 2, log });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const query = async (sql: string) => (await client.query(sql)).rows;
  const remove = async () => {
    await client.end();
    await database.close();
    await drop();
  };
  return { on: { postgresUrl: url, database }, ...inDatabase(query), remove };
}

const inDatabase = (query: (sql: string) => Promise<unknown[]>): Pick<Place, 'left' | 'pause'> => ({
  left: (prefix) => rowsOf(query, `${prefix}.`),
  pause: (prefix, name) =>
    query(`INSERT INTO bullmq.meta (queue, field, value) VALUES ('${prefix}.${name}', 'paused', '1')`),
});

async function pglitePlace(): Promise<Place & { database: Database }> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-pglite-'));
  await newPglite(folder);
  const database = await openPglite({ dataDir: folder });
  const remove = async () => {
    await database.close();
    await rm(folder, { recursive: true });
  };
  return { on: { pglite: database }, database, ...inDatabase((sql) => database.query(sql)), remove };
}

const sorted = (ids: readonly string[]) => [...ids].sort();

/** A promise that the test resolves. */
function latch() {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

const places: Record<string, () => Promise<Place>> = {
  ...(redisUrl ? { Redis: redisPlace } : {}),
  ...(databaseUrl ? { PostgreSQL: postgresPlace } : {}),
  PGlite: pglitePlace,
};

describe.each(Object.entries(places))('on %s', (name, makePlace) => {
  let place: Place;
  beforeAll(async () => {
    place = await makePlace();
  });
  afterAll(() => place.remove());

  test('every job runs once, approximately in the order of adding', async () => {
    const { queue, runs } = await openQueue(await open(place.on), { perSecond: 200 });
    const ids = uuids(120);
    await queue.add(ids.slice(0, 60));
    await queue.add(ids.slice(60));
    await eventually(() => runs.length >= ids.length, { what: 'all jobs have run' });
    expect(sorted(runs)).toEqual(sorted(ids));
    // Two concurrent claims may overtake each other.
    expect(runs.every((id, place) => Math.abs(ids.indexOf(id) - place) <= 2)).toBe(true);
  });

  test('add() skips an id whose job is waiting or running, but not one whose job has ended', async () => {
    const { open: end, opened } = latch();
    const { queue, runs } = await openQueue(await open(place.on), { perSecond: 100, work: () => opened });
    const [first = '', second = '', ...others] = uuids(22);
    await queue.add([first]);
    await eventually(() => runs.includes(first), { what: 'the first job runs' });
    await queue.add([first, second, second, ...others]);
    await queue.add([second, first]);
    end();
    await eventually(() => runs.length >= 22, { what: 'the others have run' });
    await eventually(
      async () => {
        await queue.add([first]);
        return runs.filter((id) => id === first).length >= 2;
      },
      { what: 'the first one runs again' },
    );
    expect(runs.filter((id) => id === second)).toHaveLength(1);
  });

  test('a job that throws is retried with growing delays, and reported after its last attempt', async () => {
    const attempts = new Map<string, number[]>();
    const [stubborn = '', weak = ''] = uuids(2);
    const { queue, failed } = await openQueue(await open(place.on), {
      work: async (id) => {
        const times = attempts.get(id) ?? [];
        attempts.set(id, [...times, performance.now()]);
        if (id === weak || times.length < 2) throw new Error(`attempt ${times.length + 1} failed`);
      },
    });
    await queue.add([stubborn, weak]);
    await eventually(() => failed.length > 0, { what: 'the weak job has failed', timeoutMs: 20_000 });
    expect(failed.map(({ id, error }) => [id, error.message])).toEqual([[weak, 'attempt 5 failed']]);
    expect(attempts.get(stubborn)).toHaveLength(3);
    const [first = 0, second = 0, , fourth = 0, fifth = 0] = attempts.get(weak) ?? [];
    expect(second - first).toBeGreaterThan(90);
    expect(fifth - fourth).toBeGreaterThan(700);

    await queue.add([weak]);
    await eventually(() => (attempts.get(weak)?.length ?? 0) > 5, { what: 'it can be added again' });
  });

  test('jobs start evenly at the rate and never exceed it', async () => {
    const queues = await open(place.on);
    const { queue, beganAt } = await openQueue(queues, { perSecond: 100 });
    await queue.add(uuids(620));
    await eventually(() => beganAt.length >= 620, { what: 'all have started', timeoutMs: 30_000 });
    /** Maximum number of jobs that started in any interval of `ms`. */
    const most = (ms: number) =>
      Math.max(...beganAt.map((from, index) => beganAt.filter((time, at) => at >= index && time < from + ms).length));
    if (queues.shared) {
      // A slot lasts 200 ms and lets 20 jobs start. An interval may contain the late jobs of one more slot than fits in.
      expect(most(500)).toBeLessThanOrEqual(20 * 4);
      expect(most(5_000)).toBeLessThanOrEqual(20 * 26);
    } else {
      expect(most(998), 'the clock has a resolution of a millisecond').toBeLessThanOrEqual(110);
      expect(most(5_000)).toBeLessThanOrEqual(5 * 110);
    }
    // On a busy machine a slot may be missed, and its jobs are not caught up. Otherwise no pause lies between two
    // slots.
    expect(most(500)).toBeGreaterThanOrEqual(40);
  }, 60_000);

  test('clear() removes waiting jobs, and the queue continues', async () => {
    const { queue, runs } = await openQueue(await open(place.on), { perSecond: 20 });
    const ids = uuids(60);
    await queue.add(ids);
    await eventually(() => runs.length > 0, { what: 'a job runs' });
    await queue.clear();
    const forgotten = ids.filter((id) => !runs.includes(id));
    expect(forgotten.length).toBeGreaterThan(0);
    const [next = ''] = uuids(1);
    await queue.add([next]);
    await eventually(() => runs.includes(next), { what: 'a job added after clear() runs' });
    // Jobs run in order, so the others would have run before it.
    expect(runs.filter((id) => forgotten.includes(id))).toEqual([]);
    await queue.add(forgotten.slice(0, 1));
    await eventually(() => runs.includes(forgotten[0] ?? ''), { what: 'a removed id runs when added again' });
  });

  test('close() waits for running jobs and starts no more', async () => {
    const { open: end, opened } = latch();
    const queues = await open(place.on);
    const { queue, runs } = await openQueue(queues, { perSecond: 20, work: () => opened });
    await queue.add(uuids(30));
    await eventually(() => runs.length > 0, { what: 'a job runs' });
    let closed = false;
    const closing = queue.close().then(() => {
      closed = true;
    });
    const begun = runs.length;
    await delay(600); // what must not happen has no sign to wait for; three windows of 200 ms let 12 jobs begin
    expect(closed).toBe(false);
    end();
    await closing;
    await queue.close();
    // Claims sent before close() may still start jobs, at most as many as one window lets start.
    expect(runs.length).toBeLessThanOrEqual(begun + 4);

    const again = await openQueue(queues);
    await eventually(() => new Set([...runs, ...again.runs]).size === 30, {
      what: 'the rest runs when the queue is opened again',
    });
  });

  test('twelve queues at once each run their own jobs', async () => {
    const queues = await open(place.on);
    const opened = await Promise.all(
      Array.from({ length: 12 }, (_, index) => openQueue(queues, { name: `queue-${index}`, perSecond: 20 })),
    );
    const ids = opened.map(() => uuids(10));
    await Promise.all(opened.map(({ queue }, index) => queue.add(ids[index] ?? [])));
    await eventually(() => opened.every(({ runs }) => runs.length >= 10), { what: 'all have run', timeoutMs: 20_000 });
    for (const [index, { runs }] of opened.entries()) expect(sorted(runs)).toEqual(sorted(ids[index] ?? []));
    expect(queues.health()).toEqual({ status: 'up' });
  });

  test('systems with different prefixes do not share jobs, and opening at once is safe', async () => {
    const [one, other] = await Promise.all([open(place.on), open(place.on)]);
    const [mine, theirs] = await Promise.all([openQueue(one), openQueue(other)]);
    const ids = uuids(20);
    await mine.queue.add(ids);
    await eventually(() => mine.runs.length === 20, { what: 'all have run' });
    expect(theirs.runs).toEqual([]);
    expect(one.kind).toBe(name.toLowerCase().replace('postgresql', 'postgres'));
    expect(one.shared).toBe(name === 'Redis');
  });

  test('remove() leaves nothing of a queue in any state, and the queue can be opened again', async () => {
    const prefix = freshPrefix();
    const queues = await open(place.on, prefix);
    const { open: end, opened } = latch();
    const options = { perSecond: 100, work: (id: string) => (id === bad ? Promise.reject(new Error('no')) : opened) };
    const [bad = '', ...others] = uuids(200);
    const { queue, runs } = await openQueue(queues, options);
    await queue.add([bad, ...others]);
    await eventually(() => runs.length >= 20, { what: 'some run, some wait, one is delayed' });
    expect(await place.left(prefix)).not.toEqual([]);
    end();
    await queue.close();
    await queues.remove('q');
    expect(await place.left(prefix)).toEqual([]);
    await queues.remove('q');
    await queues.remove('never-was');
    expect(await place.left(prefix)).toEqual([]);

    const again = await openQueue(queues);
    await again.queue.add(others);
    await eventually(() => again.runs.length === others.length, { what: 'all of them run' });
    expect(again.runs).not.toContain(bad);
  });

  test('a queue whose removal was interrupted runs when it is opened again', async () => {
    const prefix = freshPrefix();
    const queues = await open(place.on, prefix);
    await (await openQueue(queues)).queue.close();
    await place.pause(prefix, 'q');
    const { queue, runs } = await openQueue(queues);
    const ids = uuids(5);
    await queue.add(ids);
    await eventually(() => runs.length === ids.length, { what: 'all of them run' });
  });

  test('a name or a rate out of range is rejected', async () => {
    const queues = await open(place.on);
    await expect(queues.remove('a:b')).rejects.toThrow(RangeError);
    await expect(openQueue(queues, { name: 'a:b' })).rejects.toThrow(RangeError);
    await expect(openQueue(queues, { perSecond: 0 })).rejects.toThrow(RangeError);
    await expect(openQueue(queues, { perSecond: Number.NaN })).rejects.toThrow(RangeError);
  });
});

describe.skipIf(!redisUrl)('on Redis', () => {
  const on = { redisUrl: String(redisUrl) };

  test('two processes share the rate of one queue', async () => {
    const prefix = freshPrefix();
    const [one, other] = await Promise.all([open(on, prefix), open(on, prefix)]);
    const [first, second] = await Promise.all([
      openQueue(one, { perSecond: 100 }),
      openQueue(other, { perSecond: 100 }),
    ]);
    const ids = uuids(400);
    await first.queue.add(ids);
    await eventually(() => first.runs.length + second.runs.length >= 400, { what: 'all have run' });
    expect(sorted([...first.runs, ...second.runs])).toEqual(sorted(ids));
    expect(first.runs.length).toBeGreaterThan(0);
    expect(second.runs.length).toBeGreaterThan(0);
    const times = [...first.beganAt, ...second.beganAt].sort((a, b) => a - b);
    const seconds = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1000;
    // The first and the last window are shorter, and a start may be observed up to a window late.
    expect(seconds).toBeGreaterThan((400 / 100 - 3 * 0.2) / 1.02);
  });
});

describe.skipIf(!databaseUrl)('on PostgreSQL', () => {
  test('any number of open queues uses six connections', async () => {
    const { url, drop } = await freshDatabase(String(databaseUrl));
    cleanUps.push(drop);
    const queues = await openOnPostgres(url);
    const opened = await Promise.all(
      Array.from({ length: 12 }, (_, index) => openQueue(queues, { name: `queue-${index}`, perSecond: 100 })),
    );
    await Promise.all(opened.map(({ queue }) => queue.add(uuids(20))));
    await eventually(() => opened.every(({ runs }) => runs.length >= 20), { what: 'all have run', timeoutMs: 20_000 });
    const watcher = new pg.Client({ connectionString: url });
    cleanUps.push(() => watcher.end());
    await watcher.connect();
    const { rows } = await watcher.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    );
    expect(rows[0]?.count).toBeGreaterThan(1);
    expect(rows[0]?.count).toBeLessThanOrEqual(6);
  });

  test('an error inside this process is not taken for an outage and retried for ever', async () => {
    const { url, drop } = await freshDatabase(String(databaseUrl));
    cleanUps.push(drop);
    const queues = await openOnPostgres(url);
    const { open: end, opened } = latch();
    const { queue, runs } = await openQueue(queues, { work: () => opened });
    const [id = ''] = uuids(1);
    await queue.add([id]);
    await eventually(() => runs.includes(id), { what: 'the job runs' });
    let told = 0;
    const query = pg.Client.prototype.query as (...args: unknown[]) => unknown;
    const broken = vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (
      this: pg.Client,
      ...args: unknown[]
    ) {
      if (!JSON.stringify(args[0]).includes('move_to_completed')) return Reflect.apply(query, this, args);
      told++;
      throw new TypeError('undefined is not a function');
    } as never);
    cleanUps.push(() => broken.mockRestore());
    end();
    // clear() waits for running jobs: a job whose result is reported again and again would never end.
    await within(5_000, queue.clear());
    expect(told).toBe(1);
    expect(queues.health()).toEqual({ status: 'up' });
  });
});

describe('on PGlite', () => {
  test('transactions and migrations of the services run correctly beside a queue', async () => {
    const { database, on, remove } = await pglitePlace();
    try {
      await migrate(database, 'ours', [{ name: 'a/001.sql', sql: 'CREATE TABLE counter (value int8 NOT NULL)' }]);
      await database.execute('INSERT INTO ours.counter VALUES (0)');
      const { queue, runs } = await openQueue(await open(on), { perSecond: 500 });
      const ids = uuids(500);
      const increments = Array.from({ length: 200 }, (_, index) =>
        (index % 2 === 0 ? database : database.background).transaction(async (tx) => {
          const [row] = await tx.query<{ value: number }>('SELECT value FROM ours.counter');
          await tx.execute('UPDATE ours.counter SET value = $1', [Number(row?.value) + 1]);
          if (index % 10 === 9) throw new Error('rolled back');
        }),
      );
      const [outcomes] = await Promise.all([Promise.allSettled(increments), queue.add(ids)]);
      expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(20);
      // The session's search_path is set for BullMQ.
      await migrate(database, 'ours', [{ name: 'a/002.sql', sql: 'CREATE TABLE later (id text PRIMARY KEY)' }]);
      await database.execute("INSERT INTO ours.later VALUES ('x')");
      await eventually(() => runs.length >= ids.length, { what: 'all jobs have run', timeoutMs: 20_000 });
      expect(sorted(runs)).toEqual(sorted(ids));
      expect(await database.query('SELECT value FROM ours.counter')).toEqual([{ value: 180 }]);
    } finally {
      await cleanUp();
      await remove();
    }
  }, 60_000);
});
