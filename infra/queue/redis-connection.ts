// How ioredis connects to REDIS_URL.
import type { RedisOptions } from 'ioredis';
import { withServerName } from '../runtime/tls-params.ts';
import { parseRedisUrl } from './redis-url.ts';

export const RECONNECT_MAX_MS = 500;

export const connectionOptions = {
  connectTimeout: 5_000,
  retryStrategy: (attempt: number) => Math.min(RECONNECT_MAX_MS, attempt * 50),
  keepAlive: 10_000,
  disconnectTimeout: 200, // a silent server does not confirm the end of a connection
} satisfies RedisOptions;

export function serverOptions(url: string) {
  const { host, port, user, password, database, family, tls } = parseRedisUrl(url);
  return {
    ...{ host, port, family, db: database },
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    ...(tls && { tls: { ...withServerName(tls, host) } }),
  };
}
