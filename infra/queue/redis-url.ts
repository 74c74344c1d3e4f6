// REDIS_URL: one server.
import { choiceParam, type HostAndPort, parseServerUrl, UrlError, type UrlKind } from '../runtime/server-url.ts';
import { TLS_PARAMS, type TlsOptions, tlsOptions } from '../runtime/tls-params.ts';

export interface RedisServer extends HostAndPort {
  readonly user?: string;
  readonly password?: string;
  readonly database: number;
  /** Address family of the connections; 0: any. */
  readonly family: 0 | 4 | 6;
  /** Undefined: without TLS. */
  readonly tls: TlsOptions | undefined;
}

export const REDIS_PARAMS = ['family', ...TLS_PARAMS];

const KIND: UrlKind = { schemes: { redis: 6379, rediss: 6379 }, params: REDIS_PARAMS, hostLists: true };

/** Throws a UrlError. */
export function parseRedisUrl(text: string): RedisServer {
  const url = parseServerUrl(text, KIND);
  const { user, password, path } = url;
  const [server, ...others] = url.hosts as [HostAndPort];
  if (others.length > 0) throw new UrlError('it must name one server: Redis Cluster and Sentinel are not supported');
  if (!/^\d{0,9}$/.test(path)) throw new UrlError('its path must be the number of a database, such as /0');
  return {
    ...server,
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
    database: Number(path),
    family: Number(choiceParam(url.params, 'family', ['0', '4', '6']) ?? 0) as RedisServer['family'],
    tls: tlsOptions(url, url.scheme === 'rediss'),
  };
}
