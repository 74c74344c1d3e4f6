// A DATABASE_URL with several hosts, all of which fail.
import pg from 'pg';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { Config } from '../../app/config.ts';
import { retryUntilAvailable } from '../../app/prepare-database.ts';
import { DatabaseUnavailable, UnsuitableDatabase } from '../../infra/database/port.ts';
import { onSomeServer } from '../../infra/database/postgres-connections.ts';
import { PostgresServers } from '../../infra/database/postgres-servers.ts';
import { parsePostgresUrl } from '../../infra/database/postgres-url.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';

const DATABASE_URL = 'postgres://a,b/db';
const rejection = (code: string, message: string) =>
  Object.assign(new pg.DatabaseError(message, message.length, 'error'), { code });
const noPassword = rejection('28P01', 'password authentication failed');
const noDatabase = rejection('3D000', 'database "db" does not exist');
const latin1 = new UnsuitableDatabase('its encoding is LATIN1');
const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });

/** The error of a start whose first attempt fails with these errors, one for each host, and whose second succeeds. */
async function startError(errors: readonly Error[]): Promise<unknown> {
  const servers = new PostgresServers(parsePostgresUrl(DATABASE_URL), 'test');
  const left = [...errors];
  const connect = async () => {
    const error = left.shift();
    if (!error) return;
    servers.skip(servers.current);
    throw error;
  };
  const config = { DATABASE_URL } as Config;
  const start = { config, log: pino({ level: 'silent' }), signal: new AbortController().signal };
  return retryUntilAvailable(start, () => onSomeServer(servers, connect)).catch((error) => error);
}

test.each([
  [[noPassword, noPassword], 'password authentication failed (DATABASE_URL)'],
  [[latin1, noDatabase], 'its encoding is LATIN1; database "db" does not exist (DATABASE_URL)'],
  [[new DatabaseUnavailable(latin1), latin1], 'its encoding is LATIN1'], // as for a lock
])('a start fails at once if no host can be used until an operator changes it: %s', async (errors, problem) => {
  const error = await startError(errors);
  expect(error).toBeInstanceOf(StartupError);
  expect((error as Error).message).toBe(`the database at ${DATABASE_URL} cannot be used: ${problem}`);
});

test.each([[[away, noPassword]], [[noPassword, away]]])(
  'a start waits while one host may become usable: %s',
  async (errors) => {
    expect(await startError(errors)).toBe(undefined);
  },
);
