// Reads a system's database by SQL from outside the system.
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { Client } from 'pg';

/** A PostgreSQL, or the data folder of an embedded database whose process has ended. */
export type Stored = { readonly databaseUrl: string } | { readonly dataDir: string };

export interface Reader {
  query<Row>(sql: string): Promise<Row[]>;
  close(): Promise<void>;
}

export async function openStored(stored: Stored): Promise<Reader> {
  if ('dataDir' in stored) {
    const pglite = await PGlite.create({ dataDir: join(stored.dataDir, 'database') });
    return { query: async <Row>(sql: string) => (await pglite.query<Row>(sql)).rows, close: () => pglite.close() };
  }
  const client = new Client({ connectionString: stored.databaseUrl });
  client.on('error', () => undefined); // the query under way rejects with the same error
  await client.connect();
  return {
    query: async <Row>(sql: string) => (await client.query(sql)).rows as Row[],
    close: () => client.end(),
  };
}
