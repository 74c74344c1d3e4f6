// The options of pg for a parsed DATABASE_URL.
import type pg from 'pg';
import type { PostgresServer, PostgresTls } from './postgres-url.ts';

type ClientOptions = Pick<
  pg.ClientConfig,
  'host' | 'port' | 'user' | 'password' | 'database' | 'ssl' | 'application_name' | 'connectionTimeoutMillis'
>;

/** For one of the server's hosts. The other values are for connections whose URL does not set them. */
export function clientOptions(
  server: PostgresServer,
  defaults: { readonly applicationName: string; readonly connectTimeoutMs: number },
  host = server.hosts[0],
): ClientOptions {
  const { user, password, database, tls } = server;
  return {
    ...host,
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
    ...(database !== undefined && { database }),
    // Without sslmode, PGSSLMODE counts, as for libpq. A Unix socket has no TLS.
    ...(tls !== undefined && { ssl: tls !== 'off' && !host?.host.startsWith('/') && tlsOptions(tls) }),
    application_name: server.applicationName ?? defaults.applicationName,
    connectionTimeoutMillis: server.connectTimeoutMs ?? defaults.connectTimeoutMs,
  };
}

const tlsOptions = ({ verify, ...files }: PostgresTls) => ({
  ...files,
  rejectUnauthorized: verify !== 'nothing',
  ...(verify === 'authority' && { checkServerIdentity: () => undefined }),
});
