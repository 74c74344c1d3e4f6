// The guarantees of infra/database/port.ts, for both databases behind it; for PostgreSQL also several connections, and
// a server that goes away.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import { openPglite } from '../../infra/database/pglite.ts';
import { ConcurrentUpdate, type Database, DatabaseUnavailable, type Queryable } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { type Postgres, startPostgres } from '../servers/postgres.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { eventually, gate } from '../setup/wait.ts';

const MESSAGING = new URL('../../infra/messaging/migrations/', import.meta.url);
const { databaseUrl } = inject('servers');
const log = pino({ level: 'silent' });
const openPool = (url: string) => openPostgres({ url, poolSize: 5, log });

/** A place for a database, whose data stays until remove(). */
interface Place {
  open(): Promise<Database>;
  remove(): Promise<void>;
}

async function pglitePlace(): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-pglite-'));
  return { open: () => openPglite({ dataDir: folder }), remove: () => rm(folder, { recursive: true }) };
}

async function postgresPlace(): Promise<Place> {
  const { url, drop } = await freshDatabase(String(databaseUrl));
  return { open: async () => openPool(url), remove: drop };
}

const places = databaseUrl ? { PGlite: pglitePlace, PostgreSQL: postgresPlace } : { PGlite: pglitePlace };

describe.each(Object.entries(places))('%s', (_name, makePlace) => {
  let place: Place;
  let database: Database;
  beforeAll(async () => {
    place = await makePlace();
    database = await place.open();
    await database.script(`
      CREATE TABLE entries (id text PRIMARY KEY, amount int8 NOT NULL DEFAULT 0);
      CREATE TABLE deferred (id text UNIQUE DEFERRABLE INITIALLY DEFERRED);
    `);
  });
  afterAll(async () => {
    await database.close();
    await place.remove();
  });
  const ids = async (pattern: string) =>
    (await database.query<{ id: string }>('SELECT id FROM entries WHERE id LIKE $1 ORDER BY id', [pattern])).map(
      ({ id }) => id,
    );

  test('returns int8 and counts as numbers, timestamptz as Date, json parsed, uuid as text', async () => {
    const id = uuidv7();
    const at = new Date('2026-11-20T10:11:12.345Z');
    const rows = await database.query(
      `SELECT 9007199254740991::int8 AS big, count(*) AS count, $1::timestamptz AS at, $2::uuid AS id,
         '{"a":[1,null]}'::json AS json, '[]'::jsonb AS jsonb, true AS yes, null::int8 AS nothing`,
      [at, id],
    );
    expect(rows).toEqual([
      { big: Number.MAX_SAFE_INTEGER, count: 1, at, id, json: { a: [1, null] }, jsonb: [], yes: true, nothing: null },
    ]);
  });

  test('accepts JSON as text, both arrays and objects', async () => {
    for (const value of [[1, 'two', { three: [] }], { quotes: `'"\\`, emoji: '🛒' }, 'text', 7, null]) {
      const rows = await database.query('SELECT $1::jsonb AS value', [JSON.stringify(value)]);
      expect(rows).toEqual([{ value }]);
    }
  });

  test('accepts arrays, for batches in one statement', async () => {
    const texts = ['plain', 'comma, quote " and \\ slash', '{braces}', '', 'NULL', null];
    const numbers = [0, -1, Number.MAX_SAFE_INTEGER, 3, 4, null];
    const uuids = texts.map(() => uuidv7());
    const rows = await database.query(
      'SELECT * FROM unnest($1::text[], $2::int8[], $3::uuid[]) AS batch (text, number, uuid)',
      [texts, numbers, uuids],
    );
    expect(rows).toEqual(texts.map((text, i) => ({ text, number: numbers[i], uuid: uuids[i] })));
  });

  test('plans for an index even while a table is small, because cached plans outlive that', async () => {
    await database.script(`CREATE TABLE young (id uuid PRIMARY KEY);
      INSERT INTO young SELECT gen_random_uuid() FROM generate_series(1, 3); ANALYZE young`);
    const plan = await database.query('EXPLAIN (COSTS off) SELECT FROM young WHERE id = ANY($1::uuid[])', [[uuidv7()]]);
    expect(JSON.stringify(plan)).toContain('young_pkey');
  });

  test('returns the number of rows that a statement changed', async () => {
    expect(await database.execute("INSERT INTO entries (id) VALUES ('count-1'), ('count-2')")).toBe(2);
    expect(await database.execute("UPDATE entries SET amount = 1 WHERE id = 'count-1'")).toBe(1);
    expect(await database.execute("DELETE FROM entries WHERE id = 'not there'")).toBe(0);
  });

  test('commits a transaction and returns its result', async () => {
    const result = await database.transaction(async (tx) => {
      await tx.execute("INSERT INTO entries (id) VALUES ('kept-1')");
      await tx.execute("INSERT INTO entries (id) VALUES ('kept-2')");
      return 'done';
    });
    expect(result).toBe('done');
    expect(await ids('kept-%')).toEqual(['kept-1', 'kept-2']);
  });

  test('rolls back if the work throws, and rethrows the error', async () => {
    const failure = new Error('changed my mind');
    const work = database.transaction(async (tx) => {
      await tx.execute("INSERT INTO entries (id) VALUES ('undone')");
      throw failure;
    });
    await expect(work).rejects.toBe(failure);
    expect(await ids('undone')).toEqual([]);
  });

  test.each([
    Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:443'), { code: 'ECONNREFUSED' }),
    Object.assign(new Error('the provider is full'), { code: '53300' }),
    new Error('timeout exceeded when asking the provider'),
    new TypeError('undefined is not a function'),
  ])('an error of the work is never taken for an outage of the database: %s', async (failure) => {
    const work = database.transaction(async (tx) => {
      await tx.execute("INSERT INTO entries (id) VALUES ('not away')");
      throw failure;
    });
    await expect(work).rejects.toBe(failure);
    expect(await ids('not away')).toEqual([]);
  });

  test('calls afterCommit once the rows are committed, in order', async () => {
    const seen: string[] = [];
    const visible: Promise<string[]>[] = [];
    await database.transaction(async (tx) => {
      tx.afterCommit(() => seen.push('first'));
      tx.afterCommit(() => visible.push(ids('after-commit')));
      tx.afterCommit(() => seen.push('last'));
      await tx.execute("INSERT INTO entries (id) VALUES ('after-commit')");
      expect(seen).toEqual([]);
    });
    expect(seen).toEqual(['first', 'last']);
    expect(await Promise.all(visible)).toEqual([['after-commit']]);
  });

  test('rejects if the commit fails, and then calls no afterCommit', async () => {
    let called = false;
    const work = database.transaction(async (tx) => {
      tx.afterCommit(() => {
        called = true;
      });
      await tx.execute("INSERT INTO deferred VALUES ('twice'), ('twice')");
    });
    await expect(work).rejects.toMatchObject({ code: '23505' });
    expect(called).toBe(false);
    expect(await database.query('SELECT id FROM deferred')).toEqual([]);
  });

  // PostgreSQL responds to COMMIT with ROLLBACK instead of an error if a statement of the transaction failed.
  test('rejects if the work catches the error of a statement', async () => {
    let called = false;
    const work = database.transaction(async (tx) => {
      tx.afterCommit(() => {
        called = true;
      });
      await tx.execute("INSERT INTO entries (id) VALUES ('hidden')");
      await tx.execute('SELECT 1 / 0').catch(() => 'hidden');
    });
    await expect(work).rejects.toThrow();
    expect(called).toBe(false);
    expect(await ids('hidden')).toEqual([]);
  });

  test('loses no update of concurrent transactions', async () => {
    await database.execute("INSERT INTO entries (id) VALUES ('counter')");
    const increment = () =>
      database.transaction(async (tx) => {
        const [row] = await tx.query<{ amount: number }>("SELECT amount FROM entries WHERE id = 'counter' FOR UPDATE");
        await tx.execute("UPDATE entries SET amount = $1 WHERE id = 'counter'", [Number(row?.amount) + 1]);
      });
    await Promise.all(Array.from({ length: 30 }, increment));
    expect(await database.query("SELECT amount FROM entries WHERE id = 'counter'")).toEqual([{ amount: 30 }]);
  });

  test('reports a unique violation as 23505 and stays usable', async () => {
    await database.execute("INSERT INTO entries (id) VALUES ('unique')");
    const again = (queryable: Queryable) => queryable.execute("INSERT INTO entries (id) VALUES ('unique')");
    await expect(again(database)).rejects.toMatchObject({ code: '23505' });
    await expect(database.transaction(again)).rejects.toMatchObject({ code: '23505' });
    expect(await ids('unique')).toEqual(['unique']);
  });

  test('rejects NUL in text with 22021 and stays usable', async () => {
    await expect(database.query('SELECT $1::text', ['a\0b'])).rejects.toMatchObject({ code: '22021' });
    expect(await database.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('runs a script as a whole or not at all', async () => {
    const script = "INSERT INTO entries (id) VALUES ('script'); SELECT 1 / 0;";
    await expect(database.script(script)).rejects.toMatchObject({ code: '22012' });
    expect(await ids('script')).toEqual([]);
  });

  test('grants a lock to one holder at a time', async () => {
    const lock = await database.tryLock('one holder');
    expect(lock).toBeDefined();
    expect(await database.tryLock('one holder')).toBeUndefined();
    const other = await database.tryLock('another name');
    expect(other).toBeDefined();
    await lock?.release();
    const next = await database.tryLock('one holder');
    expect(next).toBeDefined();
    await Promise.all([next?.release(), other?.release()]);
  });

  test('applies each migration once, even if two processes start at once', async () => {
    const first = { name: 'a/001', sql: 'CREATE TABLE things (id int8); INSERT INTO things VALUES (1);' };
    const second = { name: 'a/002', sql: 'INSERT INTO things VALUES (2);' };
    const other = database.kind === 'pglite' ? database : await place.open();
    await Promise.all([migrate(database, 'migrated', [first]), migrate(other, 'migrated', [first])]);
    await Promise.all([migrate(database, 'migrated', [first, second]), migrate(other, 'migrated', [first, second])]);
    expect(await database.query('SELECT id FROM migrated.things ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
    if (other !== database) await other.close();
  });

  test('leaves nothing of a migration that fails', async () => {
    const failing = { name: 'b/001', sql: 'CREATE TABLE half (id int8); SELECT 1 / 0;' };
    await expect(migrate(database, 'failing', [failing])).rejects.toMatchObject({ code: '22012' });
    await migrate(database, 'failing', [{ ...failing, sql: 'CREATE TABLE half (id int8);' }]);
    expect(await database.query('SELECT id FROM failing.half')).toEqual([]);
  });

  test('migrates large messaging tables without rewriting them', async () => {
    const [first, ...later] = await readMigrations(MESSAGING, 'messaging');
    if (!first) throw new Error('no migrations');
    await migrate(database, 'grown', [first]);
    await database.script(`
      INSERT INTO grown.outbox (channel, event_id, type, subject, time, data)
        SELECT 'bus', gen_random_uuid(), 'points.awarded', 'subject', '2020-01-01', '{}' FROM generate_series(1, 1000);
      INSERT INTO grown.inbox (message_id, status) SELECT gen_random_uuid(), 'done' FROM generate_series(1, 1000);
    `);
    const files = () =>
      database.query(
        `SELECT pg_relation_filenode('grown.outbox') AS outbox, pg_relation_filenode('grown.inbox') AS inbox`,
      );
    const before = await files();
    await migrate(database, 'grown', [first, ...later]);
    expect(await files()).toEqual(before);
    // The age of existing rows is unknown; that of new rows is recorded.
    expect(
      await database.query(
        `SELECT count(*) AS rows, max(now() - written_at) < interval '1 minute' AS recent FROM grown.outbox`,
      ),
    ).toEqual([{ rows: 1_000, recent: true }]);
    expect(
      await database.query('SELECT count(*) AS rows FROM grown.inbox WHERE reply_attempts = 0 AND reply_error IS NULL'),
    ).toEqual([{ rows: 1_000 }]);
  });

  test('keeps all data when it is closed and opened again', async () => {
    await database.execute("INSERT INTO entries (id) VALUES ('durable')");
    await database.close();
    database = await place.open();
    expect(await ids('durable')).toEqual(['durable']);
  });
});

describe.runIf(databaseUrl)('PostgreSQL, from several connections', () => {
  let place: Place;
  let one: Database;
  let other: Database;
  beforeAll(async () => {
    place = await postgresPlace();
    one = await place.open();
    other = await place.open();
  });
  afterAll(async () => {
    await Promise.all([one.close(), other.close()]);
    await place.remove();
  });

  test('grants a lock to one of twenty concurrent callers', async () => {
    const ready = gate(20);
    const locks = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        await ready();
        return (i % 2 ? one : other).tryLock('one of twenty');
      }),
    );
    const taken = locks.filter((lock) => lock !== undefined);
    expect(taken).toHaveLength(1);
    await taken[0]?.release();
  });

  test('notifies the holder of a lost lock, and grants it to the next caller', async () => {
    const lock = await one.tryLock('to be lost');
    // Only in this database, because other tests hold locks on the same server.
    await other.query(
      `SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
       WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()`,
    );
    await lock?.lost;
    const next = await eventually(() => other.tryLock('to be lost'), { what: 'the lock is free' });
    await next?.release();
  });

  test('does not report a released lock as lost', async () => {
    const lock = await one.tryLock('released');
    let lost = false;
    void lock?.lost.then(() => {
      lost = true;
    });
    await lock?.release();
    await eventually(async () => (await other.tryLock('released'))?.release().then(() => true), {
      what: 'the released lock is free',
    });
    expect(lost).toBe(false);
  });

  describe('conflicting transactions', () => {
    beforeAll(async () => {
      await one.script(`
        CREATE TABLE rows (id text PRIMARY KEY, amount int8 NOT NULL);
        INSERT INTO rows VALUES ('left', 0), ('right', 0);
        CREATE SEQUENCE attempts;
        CREATE FUNCTION conflict(code text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
          PERFORM nextval('attempts'); -- not undone by a rollback
          RAISE EXCEPTION 'in the way' USING ERRCODE = code;
        END $$;
        -- Changes one row and then the other, once two sessions have changed their first row.
        CREATE FUNCTION change_both(former text, latter text) RETURNS void LANGUAGE plpgsql AS $$
        DECLARE attempt int8 := nextval('attempts');
        BEGIN
          UPDATE rows SET amount = amount + 1 WHERE id = former;
          PERFORM pg_advisory_xact_lock_shared(attempt);
          WHILE attempt <= 2 AND (SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE l.locktype = 'advisory' AND d.datname = current_database()) < 2 LOOP PERFORM pg_sleep(0.01); END LOOP;
          UPDATE rows SET amount = amount + 1 WHERE id = latter;
        END $$;
      `);
    });
    beforeEach(() => one.script('UPDATE rows SET amount = 0; ALTER SEQUENCE attempts RESTART'));
    const amounts = () => one.query('SELECT id, amount FROM rows ORDER BY id');
    const bothTwice = [
      { id: 'left', amount: 2 },
      { id: 'right', amount: 2 },
    ];
    const attempts = async () => (await one.query<{ n: number }>('SELECT last_value AS n FROM attempts'))[0]?.n;

    /** Changes both rows in a transaction; the first attempts of two callers deadlock. */
    function changing() {
      const firstChanged = gate(2);
      const counts = { begun: 0, committed: 0 };
      const change = (database: Database, [former, latter]: readonly string[]) =>
        database.transaction(async (tx) => {
          counts.begun++;
          tx.afterCommit(() => counts.committed++);
          await tx.execute('UPDATE rows SET amount = amount + 1 WHERE id = $1', [former]);
          await firstChanged();
          await tx.execute('UPDATE rows SET amount = amount + 1 WHERE id = $1', [latter]);
        });
      return { counts, change };
    }

    test('both commit after a deadlock: the one that PostgreSQL rolled back runs again', async () => {
      const { counts, change } = changing();
      await Promise.all([change(one, ['left', 'right']), change(other, ['right', 'left'])]);
      expect(await amounts()).toEqual(bothTwice);
      expect(counts).toEqual({ begun: 3, committed: 2 });
    });

    test('both commit as batches with one item', async () => {
      const { counts, change } = changing();
      const commitOn = (database: Database) =>
        new GroupCommit<readonly string[], string>({
          run: async ([rows = []]) => {
            await change(database, rows);
            return ['changed'];
          },
          key: String,
          maxBatch: 10,
          maxWaiting: 10,
        });
      const changed = [commitOn(one).submit(['left', 'right']), commitOn(other).submit(['right', 'left'])];
      expect(await Promise.all(changed)).toEqual(['changed', 'changed']);
      expect(await amounts()).toEqual(bothTwice);
      expect(counts).toEqual({ begun: 3, committed: 2 });
    });

    test('both commit as single statements', async () => {
      await Promise.all([
        one.execute("SELECT change_both('left', 'right')"),
        other.query("SELECT change_both('right', 'left')"),
      ]);
      expect(await amounts()).toEqual(bothTwice);
      expect(await attempts()).toBe(3);
    });

    test.each(['40P01', '40001'])('fail after five attempts: %s', async (code) => {
      const statement = one.query('SELECT conflict($1)', [code]);
      await expect(statement).rejects.toBeInstanceOf(ConcurrentUpdate);
      expect(await attempts()).toBe(5);
      const commits = new GroupCommit<string, object>({
        run: (batch) => one.transaction((tx) => tx.query('SELECT conflict($1)', batch)),
        key: String,
        maxBatch: 1,
        maxWaiting: 1,
      });
      await expect(commits.submit(code)).rejects.toMatchObject({ cause: { code } });
      expect(await attempts()).toBe(10);
    });

    test('are retried as long-running statements, too', async () => {
      await expect(one.longRunning.query('SELECT conflict($1)', ['40P01'])).rejects.toBeInstanceOf(ConcurrentUpdate);
      expect(await attempts()).toBe(5);
    });

    test('are not retried after any other error', async () => {
      await expect(one.query('SELECT conflict($1)', ['23505'])).rejects.toMatchObject({ code: '23505' });
      expect(await attempts()).toBe(1);
    });
  });

  test('a transaction whose connection ends rejects with DatabaseUnavailable, and the next one gets another connection', async () => {
    const work = one.transaction(async (tx) => {
      const [row] = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      await other.query('SELECT pg_terminate_backend($1)', [row?.pid]);
      await tx.query('SELECT 1');
    });
    await expect(work).rejects.toBeInstanceOf(DatabaseUnavailable);
    expect(await one.transaction((tx) => tx.query('SELECT 1 AS one'))).toEqual([{ one: 1 }]);
  });
});

describe('PostgreSQL, when its server goes away', () => {
  let server: Postgres;
  let database: Database;
  beforeAll(async () => {
    server = await startPostgres();
    database = openPool(server.url);
  });
  afterAll(async () => {
    await database.close();
    await server.stop();
  });

  test('every call rejects with DatabaseUnavailable until it is back, and no committed row is lost', async () => {
    await database.script("CREATE TABLE kept (id text); INSERT INTO kept VALUES ('before');");
    const lock = await database.tryLock('held');
    const interrupted = database.transaction(async (tx) => {
      await tx.execute("INSERT INTO kept VALUES ('never committed')");
      await server.kill();
      await tx.query('SELECT 1');
    });
    await expect(interrupted).rejects.toBeInstanceOf(DatabaseUnavailable);
    await lock?.lost;
    await expect(database.query('SELECT 1')).rejects.toBeInstanceOf(DatabaseUnavailable);
    await expect(database.execute("INSERT INTO kept VALUES ('lost')")).rejects.toBeInstanceOf(DatabaseUnavailable);
    await expect(database.transaction(async () => 'never')).rejects.toBeInstanceOf(DatabaseUnavailable);
    await expect(database.tryLock('held')).rejects.toBeInstanceOf(DatabaseUnavailable);

    await server.restart();
    expect(await database.query('SELECT id FROM kept')).toEqual([{ id: 'before' }]);
    const again = await database.tryLock('held');
    expect(again).toBeDefined();
    await again?.release();
  });
});
