// The options of pg for a parsed DATABASE_URL.
import type pg from 'pg';
import { optionsOf, type PostgresServer, type PostgresTls } from './postgres-url.ts';

/** What the URL says about connections to one of its hosts; it precedes the options of the code. */
export function clientOptions(server: PostgresServer, host = server.hosts[0]): pg.ClientConfig {
  const { user, password, database, tls, applicationName, connectTimeoutMs, settings } = server;
  return {
    ...host,
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
    ...(database !== undefined && { database }),
    // Without sslmode, PGSSLMODE counts, as for libpq. A Unix socket has no TLS.
    ...(tls !== undefined && { ssl: tls !== 'off' && !host?.host.startsWith('/') && tlsOptions(tls) }),
    ...(applicationName !== undefined && { application_name: applicationName }),
    ...(connectTimeoutMs !== undefined && { connectionTimeoutMillis: connectTimeoutMs }),
    ...(settings.length > 0 && { options: optionsOf(settings) }),
  };
}

const tlsOptions = ({ verify, ...files }: PostgresTls) => ({
  ...files,
  rejectUnauthorized: verify !== 'nothing',
  ...(verify === 'authority' && { checkServerIdentity: () => undefined }),
});
