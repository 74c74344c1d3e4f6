// AMQP_URL: RabbitMQ's URI scheme, with the query parameters of its clients that have an effect here.
import {
  choiceParam,
  type HostAndPort,
  integerParam,
  parseServerUrl,
  splitUrls,
  UrlError,
  type UrlKind,
} from '../../runtime/server-url.ts';
import { TLS_PARAMS, type TlsOptions, tlsOptions } from '../../runtime/tls-params.ts';

export interface AmqpServer extends HostAndPort {
  readonly user: string;
  readonly password: string;
  readonly vhost: string;
  readonly heartbeatSeconds: number;
  readonly connectionTimeoutMs: number;
  /** 0: the broker's limit. */
  readonly channelMax: number;
  /** Bytes. */
  readonly frameMax: number;
  /** Log in by the TLS client certificate, instead of user and password. */
  readonly external: boolean;
  /** Undefined: without TLS. */
  readonly tls: TlsOptions | undefined;
}

export const AMQP_PARAMS = [
  'heartbeat',
  'connection_timeout',
  'channelMax',
  'frameMax',
  'auth_mechanism',
  ...TLS_PARAMS,
];

const KIND: UrlKind = {
  schemes: { amqp: 5672, amqps: 5671 },
  params: AMQP_PARAMS,
};

/** For a broker that accepts the connection and then sends nothing. */
const CONNECTION_TIMEOUT_MS = 5_000;
/** The connection to a silent broker ends after two to three of these. */
const HEARTBEAT_SECONDS = 10;

/** The nodes of a cluster, with the same options of the socket. Throws a UrlError. */
export function parseAmqpUrls(list: string): readonly AmqpServer[] {
  const servers = splitUrls(list).map(parse);
  const differ = (values: readonly unknown[]) => new Set(values.map((each) => JSON.stringify(each))).size > 1;
  if (
    differ(servers.flatMap(({ tls }) => tls ?? [])) ||
    differ(servers.map(({ connectionTimeoutMs, external }) => [connectionTimeoutMs, external]))
  )
    throw new UrlError('its nodes must have the same connection_timeout, auth_mechanism and parameters of TLS');
  return servers;
}

function parse(text: string): AmqpServer {
  const url = parseServerUrl(text, KIND);
  const [server] = url.hosts as [HostAndPort];
  const { params, path } = url;
  const tls = tlsOptions(url, url.scheme === 'amqps');
  const external = choiceParam(params, 'auth_mechanism', ['plain', 'external']) === 'external';
  if (external && tls?.cert === undefined) throw new UrlError('auth_mechanism=external needs certfile and keyfile');
  const anonymous = url.user === undefined && url.password === undefined;
  return {
    ...server,
    user: anonymous ? 'guest' : (url.user ?? ''),
    password: anonymous ? 'guest' : (url.password ?? ''),
    vhost: path || '/',
    heartbeatSeconds: integerParam(params, 'heartbeat', 0, 65_535) ?? HEARTBEAT_SECONDS,
    connectionTimeoutMs: integerParam(params, 'connection_timeout', 100, 600_000) ?? CONNECTION_TIMEOUT_MS,
    channelMax: integerParam(params, 'channelMax', 0, 65_535) ?? 0,
    frameMax: integerParam(params, 'frameMax', 8_192, 16_777_216) ?? 131_072,
    external,
    tls,
  };
}
