// A start that is stopped while it waits for the database: it exits soon and cleanly and leaves no partial work.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { createServiceProcess, type ServiceProcess, sluice as startOf } from '../fault/support/service-process.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');

describe.runIf(databaseUrl)('a start that is stopped', () => {
  /** A process for a new database, and another session on that database. */
  async function prepare() {
    const { url, drop } = await freshDatabase(String(databaseUrl));
    onTestFinished(drop);
    const other = new Client({ connectionString: url });
    await other.connect();
    onTestFinished(() => other.end());
    const dataDir = await mkdtemp(join(tmpdir(), 'sluice-stopped-'));
    onTestFinished(() => rm(dataDir, { recursive: true }));
    const process = await createServiceProcess('sluice', startOf(), {
      DATABASE_URL: url,
      DATA_DIR: dataDir,
      MQTT_PORT: '0',
    });
    onTestFinished(() => process.remove());
    return { other, process };
  }

  /** Stops it once its log contains `line`, and expects a clean exit within 5 s. */
  async function stopOnce(process: ServiceProcess, line: string) {
    await process.launch();
    await eventually(async () => (await process.output()).includes(line), { what: line, timeoutMs: 30_000 });
    const startedAt = performance.now();
    expect(await process.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  }

  test('exits within 5 s while another process holds the migration lock', async () => {
    const { other, process } = await prepare();
    await other.query("SELECT pg_advisory_lock(hashtextextended('sluice migrations', 0))");
    await stopOnce(process, 'another process holds the migration lock');
    await other.query('SELECT pg_advisory_unlock_all()');
    await process.start();
  }, 60_000);

  test('during a migration rolls it back and ends its statement on the server', async () => {
    const { other, process } = await prepare();
    await other.query(`
      CREATE FUNCTION slowly() RETURNS event_trigger LANGUAGE plpgsql AS
        'BEGIN IF tg_tag = ''CREATE TABLE'' THEN PERFORM pg_sleep(600); END IF; END';
      CREATE EVENT TRIGGER slowly ON ddl_command_start EXECUTE FUNCTION slowly();
    `);
    await stopOnce(process, 'is still running');
    const atWork = async () =>
      (
        await other.query(
          // Only in its database, because other tests use the server at the same time.
          `SELECT FROM pg_stat_activity
           WHERE datname = current_database() AND application_name LIKE 'sluice%' AND state <> 'idle'`,
        )
      ).rowCount;
    await eventually(async () => (await atWork()) === 0, { what: 'the server has ended it' });
    await other.query('DROP EVENT TRIGGER slowly');
    await process.start();
  }, 60_000);
});
