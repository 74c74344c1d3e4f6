// Makes the handlers of the points service hang, by a lock in its database.
import { Client } from 'pg';
import { onTestFinished } from 'vitest';
import { query } from '../../fault/support/sql.ts';

const LOCK = 4_712;

/** Makes each attempt to award points hang until the returned function is called. */
export async function holdPoints(databaseUrl: string): Promise<() => Promise<void>> {
  await query(
    databaseUrl,
    `CREATE OR REPLACE FUNCTION wait_for_points() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN PERFORM pg_advisory_xact_lock_shared(${LOCK}); RETURN NEW; END $$;
     CREATE OR REPLACE TRIGGER wait_for_points BEFORE INSERT ON sluice_points.entries
       FOR EACH ROW EXECUTE FUNCTION wait_for_points()`,
  );
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(`SELECT pg_advisory_lock(${LOCK})`);
  let released: Promise<void> | undefined;
  const release = () => {
    released ??= client.end();
    return released;
  };
  onTestFinished(release);
  return release;
}
