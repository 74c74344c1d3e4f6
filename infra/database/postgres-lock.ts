// Session locks of PostgreSQL, each on a connection of its own.
import pg from 'pg';
import type { Lock } from './port.ts';
import { orUnavailable } from './postgres-connections.ts';

export async function tryLock(settings: pg.ClientConfig, name: string): Promise<Lock | undefined> {
  const client = new pg.Client(settings);
  let released = false;
  const lost = new Promise<void>((resolve) => {
    const ended = () => {
      if (!released) resolve();
    };
    client.on('error', ended);
    client.on('end', ended);
  });
  try {
    await client.connect();
    const { rows } = await client.query<{ taken: boolean }>(
      'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS taken',
      [name],
    );
    if (rows[0]?.taken) {
      const release = async () => {
        released = true;
        await client.end();
      };
      return { lost, release };
    }
    await client.end();
    return undefined;
  } catch (error) {
    await client.end().catch(() => {}); // it may never have connected; the error to tell is the first one
    throw orUnavailable(error);
  }
}
