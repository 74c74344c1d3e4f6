// Session locks of PostgreSQL, each on a connection of its own.
//
// A connection can be dead without either end noticing. So the holder probes the server at intervals, and the server
// ends a session that stopped probing. The holder gives up first, and only then can another process get the lock.
import type pg from 'pg';
import type { Lock } from './port.ts';
import { onSomeServer, orUnavailable } from './postgres-connections.ts';
import { SessionClient, type SessionConfig, socketOf } from './postgres-session.ts';

/** The server ends a session after this many intervals without a probe; the holder gives up after two. */
const SESSION_PROBES = 3;

/** Resolves with undefined if another session holds the lock. `probeMs`: interval and timeout of the probes. */
export const tryLock = (config: SessionConfig, name: string, probeMs: number): Promise<Lock | undefined> =>
  onSomeServer(config.servers, () => tryLockOnce(config, name, probeMs));

async function tryLockOnce(config: SessionConfig, name: string, probeMs: number): Promise<Lock | undefined> {
  const client = new SessionClient({ ...config, query_timeout: probeMs });
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
    // TCP keepalive by the server does not suffice, because a proxy in between acknowledges it by itself.
    const { rows } = await client.query<{ taken: boolean }>(
      `SELECT set_config('idle_session_timeout', $2, false), pg_try_advisory_lock(hashtextextended($1, 0)) AS taken`,
      [name, String(SESSION_PROBES * probeMs)],
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
    await end(client, probeMs); // it may not be connected; the first error is the one to report
    throw orUnavailable(error);
  }
}

/** Waits at most `withinMs` for the server to confirm the end. */
async function end(client: pg.Client, withinMs: number): Promise<void> {
  const deadline = setTimeout(() => socketOf(client).destroy(), withinMs);
  await client.end().catch(() => undefined);
  clearTimeout(deadline);
}
