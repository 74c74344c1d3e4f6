// DATABASE_URL: libpq's URI scheme, with the parameters that have an effect here.
import {
  choiceParam,
  type HostAndPort,
  integerParam,
  parseServerUrl,
  type ServerUrl,
  UrlError,
  type UrlKind,
} from '../runtime/server-url.ts';
import { certificates } from '../runtime/tls-params.ts';

/** The parsed URL: plain data, without the TLS options that are functions. */
export interface PostgresServer {
  /** The servers, to be tried in turn. A host that starts with a slash is the folder of a Unix socket. */
  readonly hosts: readonly HostAndPort[];
  /** Undefined: as for libpq, PGUSER, PGPASSWORD and PGDATABASE count, as PGHOST and PGPORT do for `hosts`. */
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly tls: PostgresTls | 'off' | undefined;
  /** Run-time settings of each session, from `options=-c name=value`. */
  readonly settings: readonly (readonly [name: string, value: string])[];
  readonly applicationName: string | undefined;
  readonly connectTimeoutMs: number | undefined;
}

export interface PostgresTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** What is checked: nothing; the certificate's authority; and the server's name. */
  readonly verify: 'nothing' | 'authority' | 'name';
}

export const POSTGRES_PARAMS = [
  ...['host', 'port', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'application_name', 'connect_timeout'],
  ...['target_session_attrs', 'options'],
];

const kind = (port: number): UrlKind => ({
  schemes: { postgres: port, postgresql: port },
  params: POSTGRES_PARAMS,
  hostLists: true,
  sockets: true,
});

/** Throws a UrlError. */
export function parsePostgresUrl(text: string): PostgresServer {
  const url = parseServerUrl(text, kind(Number(process.env.PGPORT || '5432')));
  const { params } = url;
  const seconds = integerParam(params, 'connect_timeout', 1, 600);
  // Only checked: every server must accept writes.
  choiceParam(params, 'target_session_attrs', ['any', 'read-write', 'primary']);
  return {
    hosts: hostsOf(url),
    user: url.user,
    password: url.password,
    database: url.path || undefined,
    tls: tlsOf(params),
    settings: settingsIn(params.get('options') ?? ''),
    applicationName: params.get('application_name') || undefined,
    connectTimeoutMs: seconds && seconds * 1_000,
  };
}

/**
 * As for libpq, `host` and `port` may be parameters, each a list: the folder of a socket cannot stand before a path.
 */
function hostsOf({ hosts, params }: ServerUrl): readonly HostAndPort[] {
  const named = params.get('host');
  if (named === undefined && params.has('port')) throw new UrlError('the parameter port needs the parameter host');
  if (hosts.length > 0) {
    if (named !== undefined) throw new UrlError('it names a host twice, also in the parameter host');
    if (!hosts.every(isValid)) throw new UrlError('PGPORT must be a port from 1 to 65535');
    return hosts;
  }
  const ports = (params.get('port') || process.env.PGPORT || '5432').split(',');
  const names = (named ?? (process.env.PGHOST || 'localhost')).split(',');
  if (ports.length !== 1 && ports.length !== names.length)
    throw new UrlError('the parameter port must be one port, or one for each host');
  const servers = names.map((host, index) => ({ host, port: Number(ports[index] ?? ports[0]) }));
  if (!servers.every(isValid))
    throw new UrlError(
      'the parameters host and port (or PGHOST and PGPORT) must name a host and a port from 1 to 65535',
    );
  return servers;
}

const isValid = ({ host, port }: HostAndPort): boolean =>
  host !== '' && Number.isInteger(port) && port >= 1 && port <= 65_535;

/** The meanings are libpq's. `prefer` and `allow` may fall back to a connection without TLS, and are not offered. */
const MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const;

function tlsOf(params: ServerUrl['params']): PostgresServer['tls'] {
  const mode = choiceParam(params, 'sslmode', MODES);
  const files = ['sslrootcert', 'sslcert', 'sslkey'].filter((name) => params.has(name));
  if (mode === undefined || mode === 'disable') {
    if (files.length > 0)
      throw new UrlError(`${files.join(', ')} has no effect without sslmode=require, verify-ca or verify-full`);
    return mode && 'off';
  }
  const isSystem = params.get('sslrootcert') === 'system'; // libpq: the authorities that the system trusts
  const rest = new Map([...params].filter(([name]) => !(isSystem && name === 'sslrootcert')));
  const certificate = certificates(rest, { ca: 'sslrootcert', cert: 'sslcert', key: 'sslkey' });
  const checksAuthority = mode === 'verify-ca' || params.has('sslrootcert');
  return { ...certificate, verify: mode === 'verify-full' ? 'name' : checksAuthority ? 'authority' : 'nothing' };
}

/** The settings in a server's command line: `-c name=value` or `--name=value`; a backslash escapes a space. */
function settingsIn(options: string): [name: string, value: string][] {
  const words = (options.match(/(?:\\.|[^\\\s])+/gs) ?? []).map((word) => word.replace(/\\(.)/gs, '$1'));
  const settings: [string, string][] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index] === '-c' ? `-c${words[++index] ?? ''}` : (words[index] ?? '');
    const [, long, name = '', value = ''] = /^-(?:c|(-))([a-z_][\w.-]*)=(.*)$/is.exec(word) ?? [];
    if (name === '') throw new UrlError('the parameter options must be a list of -c name=value');
    settings.push([long ? name.replaceAll('-', '_') : name, value]);
  }
  return settings;
}

/** The URL of another database on the same server. `name` needs no percent-encoding. */
export const withDatabase = (url: string, name: string): string =>
  url.trim().replace(/^([^:]*:\/\/[^/?]*)(\/[^?]*)?/, `$1/${name}`);
