// Migrations: numbered SQL files, each applied once, in order, in the schema they belong to. Safe when several
// processes start at once: the first takes a lock, the others find the work done.
import { readdir, readFile } from 'node:fs/promises';
import type { Database } from './port.ts';

export interface Migration {
  readonly name: string;
  /** Statements with unqualified names: they run with `search_path` set to the schema. */
  readonly sql: string;
}

/** The files `001_….sql`, `002_….sql` of a folder, in order; `set` tells apart the folders that share a schema. */
export async function readMigrations(folder: URL, set: string): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => /^\d{3}_.*\.sql$/.test(file)).sort();
  return Promise.all(
    files.map(async (file) => ({ name: `${set}/${file}`, sql: await readFile(new URL(file, folder), 'utf8') })),
  );
}

/** Brings a schema up to date. `schema` is one of our own names, never input. */
export async function migrate(database: Database, schema: string, migrations: readonly Migration[]): Promise<void> {
  await database.transaction(async (tx) => {
    const [server] = await tx.query<{ version: number }>(
      "SELECT current_setting('server_version_num')::integer AS version",
    );
    if (server && server.version < 140_000)
      throw new Error(`PostgreSQL 14 or newer is needed, this is ${Math.floor(server.version / 10_000)}`);
    // One lock for all schemas: CREATE SCHEMA IF NOT EXISTS itself races with itself.
    await tx.query("SELECT pg_advisory_xact_lock(hashtextextended('sluice migrations', 0))");
    await tx.script(`
      CREATE SCHEMA IF NOT EXISTS ${schema};
      CREATE TABLE IF NOT EXISTS ${schema}.migrations
        (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
      SET LOCAL search_path TO ${schema};
    `);
    const applied = new Set((await tx.query<{ name: string }>('SELECT name FROM migrations')).map(({ name }) => name));
    for (const { name, sql } of migrations) {
      if (applied.has(name)) continue;
      await tx.script(sql);
      await tx.execute('INSERT INTO migrations (name) VALUES ($1)', [name]);
    }
  });
}
