// Session locks of PostgreSQL, each on a connection of its own.
//
// A connection can be dead without either end being told. So the holder asks the server again and again whether it is
// there, and the server ends a session that has stopped asking. The holder gives up first: until then nobody else gets
// the lock.
import type { Duplex } from 'node:stream';
import pg from 'pg';
import type { Lock } from './port.ts';
import { orUnavailable } from './postgres-connections.ts';

/** The server ends a session that has not asked for this many times `probeMs`; the holder gives up after two. */
const SERVER_WAITS = 3;

/**
 * Answers undefined when another session holds the lock. `probeMs`: between two questions, and how long the server may
 * take to answer one.
 */
export async function tryLock(settings: pg.ClientConfig, name: string, probeMs: number): Promise<Lock | undefined> {
  const client = new pg.Client({ ...settings, query_timeout: probeMs });
  let released = false;
  let probing: NodeJS.Timeout | undefined;
  const lost = new Promise<void>((resolve) => {
    const ended = () => {
      clearInterval(probing);
      if (!released) resolve();
    };
    client.on('error', ended);
    client.on('end', ended);
  });
  try {
    await client.connect();
    // A TCP keepalive on the server's side would not do: a proxy between the two answers it by itself.
    const { rows } = await client.query<{ taken: boolean }>(
      `SELECT set_config('idle_session_timeout', $2, false), pg_try_advisory_lock(hashtextextended($1, 0)) AS taken`,
      [name, String(SERVER_WAITS * probeMs)],
    );
    if (!rows[0]?.taken) {
      await end(client, probeMs);
      return undefined;
    }
    probing = setInterval(() => void client.query('SELECT 1').catch(() => socketOf(client).destroy()), probeMs);
    const release = async () => {
      released = true;
      clearInterval(probing);
      await end(client, probeMs);
    };
    return { lost, release };
  } catch (error) {
    await end(client, probeMs); // it may never have connected; the error to tell is the first one
    throw orUnavailable(error);
  }
}

/** A server that does not answer the farewell is not waited for. */
async function end(client: pg.Client, withinMs: number): Promise<void> {
  const deadline = setTimeout(() => socketOf(client).destroy(), withinMs);
  await client.end().catch(() => undefined);
  clearTimeout(deadline);
}

const socketOf = (client: pg.Client) => (client as unknown as { connection: { stream: Duplex } }).connection.stream;
