// The embedded database's maintenance, which PostgreSQL does in background processes.
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { maintenanceLoop } from '../../infra/database/pglite-maintenance.ts';
import { type Databases, log, pgliteInFolder } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { eventually } from '../setup/wait.ts';

const MAX_WAL_BYTES = 128 * 1024 * 1024;

let databases: Databases;
beforeAll(async () => {
  databases = await pgliteInFolder();
});
afterAll(() => databases?.close());
beforeEach(() => {
  const loop = maintenanceLoop(databases.database.background, log);
  loop.start();
  cleanUps.push(() => loop.stop());
});

/** In the background, so that it does not wait for a flood of other statements. */
async function read<T>(sql: string): Promise<T | undefined> {
  const [row] = await databases.database.background.query<{ value: T }>(`SELECT (${sql}) AS value`);
  return row?.value;
}
const walBytes = () => read<number>('SELECT sum(size)::bigint FROM pg_ls_waldir()');

test('bounds the log, and vacuums and analyzes tables by what was written', async () => {
  const { database } = databases;
  await database.script('CREATE TABLE written (id bigint PRIMARY KEY, text text)');
  const write = (turn: number) =>
    database.execute(
      `INSERT INTO written SELECT $1 * 25000 + n, repeat('x', 500) FROM generate_series(1, 25000) AS n`,
      [turn],
    );
  for (let turn = 0; turn < 12; turn++) {
    await write(turn);
    expect(await walBytes()).toBeLessThan(MAX_WAL_BYTES);
    await eventually(
      () =>
        read<boolean>('SELECT pg_current_wal_insert_lsn() - redo_lsn <= 32 * 1024 * 1024 FROM pg_control_checkpoint()'),
      { what: 'a checkpoint follows 32 MB of log' },
    );
  }
  const deletedAt = (await read<Date>('SELECT clock_timestamp()'))?.toISOString();
  await database.execute('DELETE FROM written WHERE id % 2 = 0');
  const statistics = `FROM pg_stat_user_tables WHERE relname = 'written'`;
  await eventually(() => read<boolean>(`SELECT last_vacuum > '${deletedAt}' AND n_dead_tup = 0 ${statistics}`), {
    what: 'the table is vacuumed',
  });
  await eventually(() => read<boolean>(`SELECT last_analyze IS NOT NULL ${statistics}`), {
    what: 'the table is analyzed',
  });
});

test('bounds the log while statements do not wait for each other', async () => {
  const { database } = databases;
  await database.script('CREATE TABLE flooded (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text)');
  const writes: Promise<unknown>[] = [];
  let most = 0;
  for (let second = 0; second < 4; second++) {
    // 40 MB of log, several times what the services write in a second, in statements as large as their batches.
    for (let statement = 0; statement < 400; statement++)
      writes.push(
        database.execute(`INSERT INTO flooded (text) SELECT repeat('x', 500) FROM generate_series(1, 100) AS n`),
      );
    for (const until = performance.now() + 1_000; performance.now() < until; await delay(20))
      most = Math.max(most, Number(await walBytes()));
  }
  await Promise.all(writes);
  expect(Math.max(most, Number(await walBytes()))).toBeLessThan(MAX_WAL_BYTES);
  expect(await read<number>('SELECT count(*) FROM flooded')).toBe(4 * 400 * 100);
});
