// URLs of servers, parsed here and never by a library: each library reads different parts of a URL, decodes some of
// them twice or not at all, and takes query parameters as options of its own. Every client gets its options field by
// field.
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';

/**
 * A URL that cannot be used. The message says why, unless an example says it better, and never contains a user, a
 * password or a parameter's value.
 */
export class UrlError extends Error {
  override readonly name = 'UrlError';
  /** Whether the text is not a URL of this kind at all, so that an example helps more than the reason alone. */
  readonly malformed: boolean;
  constructor(message: string, malformed = false) {
    super(message);
    this.malformed = malformed;
  }
}

export interface HostAndPort {
  /** A name, or an address; an IPv6 address is without brackets. */
  readonly host: string;
  readonly port: number;
}

/** The parts of a URL, decoded. */
export interface ServerUrl {
  /** In lower case, without the colon. */
  readonly scheme: string;
  readonly user?: string;
  readonly password?: string;
  /** At least one; more only if the kind allows them. */
  readonly hosts: readonly HostAndPort[];
  /** What follows the first slash, decoded; empty if nothing follows. */
  readonly path: string;
  /** The query's parameters; each of them is known. */
  readonly params: ReadonlyMap<string, string>;
}

/** What the URLs of one kind of server may contain. */
export interface UrlKind {
  /** The schemes with their default ports. */
  readonly schemes: Readonly<Record<string, number>>;
  /** The names of the query parameters that have an effect. */
  readonly params: readonly string[];
  /** Several hosts, separated by commas, in one URL. */
  readonly hostLists?: boolean;
  /** The host may be missing, or the percent-encoded folder of a Unix socket. */
  readonly sockets?: boolean;
}

const RESERVED = 'write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25 in a user or password';

/**
 * Throws a UrlError. Spaces and line breaks around the URL are ignored, as a file with a secret often ends with one.
 */
export function parseServerUrl(given: string, kind: UrlKind): ServerUrl {
  const text = given.trim();
  const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(text) ?? [];
  const lower = scheme.toLowerCase();
  const defaultPort = kind.schemes[lower];
  if (defaultPort === undefined) throw new UrlError('', true);
  if (/[\s\p{Cc}]/u.test(rest)) throw new UrlError('it contains a space or a control character', true);
  const [, authority = '', path = '', query] = /^([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?/.exec(rest) ?? [];
  // A password with one of these characters would be read as a host and a path.
  if (rest.slice(authority.length).includes('@')) throw new UrlError(`it has an @ after its host: ${RESERVED}`, true);
  if (rest.includes('#')) throw new UrlError(`it contains a #: ${RESERVED}`, true);
  const at = authority.lastIndexOf('@');
  return {
    scheme: lower,
    ...credentialsIn(at < 0 ? '' : authority.slice(0, at)),
    hosts: hostsIn(authority.slice(at + 1), defaultPort, kind),
    path: decoded(path, 'path'),
    params: paramsIn(query ?? '', kind),
  };
}

/** An empty user or password is absent, as in `redis://:password@host`. */
function credentialsIn(text: string): { user?: string; password?: string } {
  const colon = text.indexOf(':');
  const user = decoded(colon < 0 ? text : text.slice(0, colon), 'user or password');
  const password = colon < 0 ? '' : decoded(text.slice(colon + 1), 'user or password');
  return { ...(user && { user }), ...(password && { password }) };
}

function hostsIn(text: string, defaultPort: number, kind: UrlKind): HostAndPort[] {
  if (text === '' && kind.sockets) return [];
  const parts = text.split(',');
  if (parts.length > 1 && !kind.hostLists) throw new UrlError('', true);
  return parts.map((part) => hostIn(part, defaultPort, kind));
}

function hostIn(text: string, defaultPort: number, { sockets }: UrlKind): HostAndPort {
  const [, bracketed, plain = '', port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(text) ?? [undefined, '', ''];
  if (bracketed === undefined && (text.match(/:/g)?.length ?? 0) > 1)
    throw new UrlError('an IPv6 address must stand in brackets, such as [::1]', true);
  return {
    host: bracketed === undefined ? nameIn(plain, sockets) : ipv6In(bracketed),
    port: portIn(port, defaultPort),
  };
}

function ipv6In(text: string): string {
  const address = text.replace('%25', '%'); // the zone of a link-local address: [fe80::1%25eth0]
  if (isIP(address) !== 6) throw new UrlError('the brackets must contain an IPv6 address, such as [::1]', true);
  return address;
}

function nameIn(text: string, sockets = false): string {
  const name = decoded(text, 'host');
  if (sockets && name.startsWith('/')) return name;
  const ascii = domainToASCII(name);
  if (!/^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$/i.test(ascii)) throw new UrlError('it has no valid host', true);
  return ascii;
}

function portIn(text: string | undefined, defaultPort: number): number {
  if (text === undefined || text === '') return defaultPort;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new UrlError('its port must be a number from 1 to 65535', true);
  return port;
}

function paramsIn(query: string, { params: known }: UrlKind): Map<string, string> {
  const params = new Map<string, string>();
  for (const part of query.split('&')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = decoded(equals < 0 ? part : part.slice(0, equals), 'query');
    if (!known.includes(name)) throw new UrlError(unknownParameter(name, known));
    if (params.has(name)) throw new UrlError(`the parameter ${name} appears twice`);
    params.set(name, equals < 0 ? '' : decoded(part.slice(equals + 1), `parameter ${name}`));
  }
  return params;
}

function unknownParameter(name: string, known: readonly string[]): string {
  const shown = /^[\w.-]{1,40}$/.test(name) ? `the parameter ${name}` : 'a parameter';
  const allowed = known.length === 0 ? 'no parameter may be set' : `known parameters are ${known.join(', ')}`;
  return `${shown} is not known; ${allowed}`;
}

function decoded(text: string, what: string): string {
  let result: string;
  try {
    result = decodeURIComponent(text);
  } catch {
    throw new UrlError(`its ${what} must be percent-encoded: write % as %25`, true);
  }
  // It would end the field in the protocols of PostgreSQL and AMQP.
  if (result.includes('\0')) throw new UrlError(`its ${what} contains %00`, true);
  return result;
}

/** A parameter's value as an integer. Throws a UrlError that names the bounds. */
export function integerParam(params: ServerUrl['params'], name: string, min: number, max: number): number | undefined {
  const value = params.get(name);
  if (value === undefined) return undefined;
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max))
    throw new UrlError(`the parameter ${name} must be an integer from ${min} to ${max}`);
  return number;
}

/** A parameter's value, one of `values`. */
export function choiceParam<const T extends string>(
  params: ServerUrl['params'],
  name: string,
  values: readonly T[],
): T | undefined {
  const value = params.get(name);
  if (value === undefined) return undefined;
  const chosen = values.find((each) => each === value);
  if (chosen === undefined) throw new UrlError(`the parameter ${name} must be one of: ${values.join(', ')}`);
  return chosen;
}

/** `host:port`, with an IPv6 address in brackets. */
export const hostPort = ({ host, port }: HostAndPort): string => `${bracketed(host)}:${port}`;

/** The host as a URL has it: an IPv6 address in brackets. */
export const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** The URLs of a list separated by commas. A comma within a URL stays. */
export const splitUrls = (list: string): string[] => list.split(/,\s*(?=[a-z][a-z0-9+.-]*:\/\/)/i);

/**
 * Hides passwords for messages and logs, in each URL of a list: `postgres://me:secret@host` → `postgres://me:***@host`.
 * The text may be no valid URL because its password is not percent-encoded, so everything from the first colon to the
 * last @ is hidden.
 */
export const redactUrl = (list: string): string => splitUrls(list).map(redact).join(',');

const redact = (url: string): string =>
  url
    // Without a scheme, the part before the last @ may be a user and a password in any form.
    .replace(/^(?!.*:\/\/).*@/s, '***@')
    .replace(/(:\/\/[^:@]*):.*@/s, '$1:***@')
    .replace(/((?:^|[?&\s])[^=&\s]*(?:pass|pwd|secret|token)[^=&\s]*\s*=\s*)(?:'[^']*'|[^&\s]*)/gi, '$1***');

/**
 * Hides passwords in a text that may quote `urls`, such as an error about a command line, and in anything else that
 * looks like a URL. The user of an HTTP URL may be a token, and is hidden, too.
 */
export function redactIn(text: string, urls: readonly (string | undefined)[]): string {
  const quoted = urls.filter((url) => url !== undefined && redactUrl(url) !== url) as string[];
  return quoted
    .reduce((result, url) => result.replaceAll(url, () => redactUrl(url)), text)
    .replace(/(:\/\/[^\s:@'"/]*):(?!password@)[^\s'"@]*@/g, '$1:***@') // not in our own examples
    .replace(/(https?:\/\/)[^\s:@'"/]+(:\*\*\*)?@/gi, '$1***@');
}
