// Single SQL statements on a system's database.
import { Client } from 'pg';

export async function query<Row extends object>(databaseUrl: string, sql: string): Promise<Row[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

export async function count(databaseUrl: string, from: string): Promise<number> {
  const [row] = await query<{ count: string }>(databaseUrl, `SELECT count(*) FROM ${from}`);
  return Number(row?.count);
}
