// Decides, before any other listener sees a request, whether a page of another site may have caused it. A browser lets
// any site send requests to any address, also to a server that only this machine reaches:
// - By DNS rebinding, a site's own name resolves to this server. Its pages then read all responses. The Host header gives
//   them away, because a browser sets it.
// - Without it, a site can still send forms and open WebSockets. A browser names the site in Origin and Sec-Fetch-Site.
import type { IncomingMessage, RequestListener } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import cors from 'cors';
import { badRequest, headersTooLarge, Problem } from './problem.ts';
import { send } from './send.ts';

export interface GuardOptions {
  /** Lower-case names by which clients reach this server, besides localhost and IP addresses. Undefined: any. */
  readonly hosts: readonly string[] | undefined;
  /** Other origins whose pages may call this server (CORS). */
  readonly origins: readonly string[];
  /** The response headers that those pages may read. */
  readonly exposedHeaders: readonly string[];
}

/** Far more than clients and proxies send. node:http would ignore those after the first 2,000. */
const MAX_HEADERS = 200;

/** How long a browser may keep the response to a preflight. */
const PREFLIGHT_SECONDS = 600;

const unknownHost = new Problem(421, 'unknown-host', {
  title: 'This server has no such name',
  detail:
    'The host of a request, also the one that a trusted proxy forwards, must be localhost, an IP address or a name in the setting ALLOWED_HOSTS.',
});
const crossSite = new Problem(403, 'cross-site', {
  title: 'Pages of other sites may not do this',
  detail:
    'The request comes from a page of another origin (Origin, Sec-Fetch-Site). To allow that origin, add it to the setting CORS_ORIGINS. Behind a proxy, pass on the Host of the request.',
});
const severalHosts = badRequest('It has more than one Host header.');
const unknownCoding = badRequest('Its Transfer-Encoding is not chunked.');
const unreadableTarget = badRequest('Its target is neither a path nor an http or https URL without a user.');

/** Methods that change nothing. */
const SAFE: ReadonlySet<string | undefined> = new Set(['GET', 'HEAD', 'OPTIONS']);

export class RequestGuard {
  readonly #hosts: ReadonlySet<string> | undefined;
  readonly #origins: ReadonlySet<string>;
  readonly #cors: ReturnType<typeof cors>;
  /** Connections whose further requests nobody reads. */
  readonly #ended = new WeakSet<Duplex>();
  /** Nearly all requests have the same. */
  #lastAllowedHost: string | undefined;

  constructor({ hosts, origins, exposedHeaders }: GuardOptions) {
    this.#hosts = hosts && new Set(hosts);
    this.#origins = new Set(origins);
    this.#cors = cors({
      origin: [...origins],
      methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
      allowedHeaders: ['Authorization', 'Content-Type', 'Idempotency-Key'],
      exposedHeaders: [...exposedHeaders],
      maxAge: PREFLIGHT_SECONDS,
      preflightContinue: true,
    });
  }

  /** A listener that responds to requests that must not reach `next`. */
  before(next: RequestListener): RequestListener {
    const pass = this.#origins.size === 0 ? next : this.#withCors(next);
    return (request, response) => {
      if (this.#isSmuggling(request)) return;
      const problem =
        this.#hostProblem(request) ?? (SAFE.has(request.method) ? undefined : this.#originProblem(request));
      if (problem) problem.send(response);
      else pass(request, response);
    };
  }

  /**
   * Whether a proxy may have taken the end of this request, or of an earlier one of its connection, for another place. It
   * may then have taken for a body what is a request here. node:http rejects all other forms of this.
   */
  #isSmuggling({ socket, headers: { 'transfer-encoding': coding } }: IncomingMessage): boolean {
    if (coding !== undefined && coding.toLowerCase() !== 'chunked' && !this.#ended.has(socket)) {
      unknownCoding.end(socket);
      this.#ended.add(socket);
    }
    return this.#ended.has(socket);
  }

  /** Whether a WebSocket may be opened. If not, the client gets the reason and the connection ends. */
  admitUpgrade(request: IncomingMessage, socket: Duplex): boolean {
    const problem = this.#hostProblem(request) ?? this.#originProblem(request);
    problem?.end(socket);
    return !problem;
  }

  #withCors(next: RequestListener): RequestListener {
    return (request, response) => {
      const { origin } = request.headers;
      if (origin === undefined || !this.#origins.has(origin)) {
        response.setHeader('Vary', 'Origin');
        return next(request, response);
      }
      this.#cors(request, response, () => {
        if (request.method === 'OPTIONS') send(response, 204, {}, Buffer.alloc(0));
        else next(request, response);
      });
    };
  }

  /**
   * Every name in a request must be allowed: the Host that arrived, and the one that the request is for. They differ if a
   * trusted proxy forwards another, and for a target with a host of its own. With a proxy on this machine, a rebound page
   * has the address of that proxy, so its X-Forwarded-Host proves nothing.
   */
  #hostProblem(request: IncomingMessage): Problem | undefined {
    const { rawHeaders, headers } = request;
    if (rawHeaders.length > 2 * MAX_HEADERS) return headersTooLarge;
    const [arrived, ...others] = hostsIn(rawHeaders);
    if (others.length > 0) return severalHosts;
    if (!isPath(request.url) && !adoptTarget(request)) return unreadableTarget;
    if (!this.#hosts || (arrived === this.#lastAllowedHost && headers.host === arrived && arrived !== undefined))
      return undefined;
    if (!this.#isAllowed(headers.host) || (arrived !== undefined && !this.#isAllowed(arrived))) return unknownHost;
    this.#lastAllowedHost = arrived;
    return undefined;
  }

  #isAllowed(host: string | undefined): boolean {
    const name = host === undefined ? undefined : nameIn(host);
    if (name === undefined) return false;
    return name === 'localhost' || isIP(name) > 0 || (this.#hosts?.has(name) ?? true);
  }

  /** Only browsers send these headers, and no page can change them. */
  #originProblem({ headers }: IncomingMessage): Problem | undefined {
    const { origin, host, 'sec-fetch-site': site } = headers;
    if (origin !== undefined && this.#origins.has(origin)) return undefined;
    if (site === 'cross-site' || (origin !== undefined && !isSameHost(origin, host))) return crossSite;
    return undefined;
  }
}

/** The values of all Host headers; `headers` has only the first. */
function hostsIn(rawHeaders: readonly string[]): string[] {
  const hosts: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string;
    if (name.length === 4 && name.toLowerCase() === 'host') hosts.push(rawHeaders[index + 1] as string);
  }
  return hosts;
}

const isPath = (target = '') => target.startsWith('/') || target === '*';

/** Changes a request whose target is a URL to one whose target is a path: the URL's host counts (RFC 9112, 3.2.2). */
function adoptTarget(request: IncomingMessage): boolean {
  const { url = '', headers } = request;
  if (!URL.canParse(url)) return false;
  const { protocol, username, password, host, pathname, search } = new URL(url);
  if (!isHttp(protocol) || username !== '' || password !== '') return false;
  headers.host = host;
  request.url = pathname + search;
  return true;
}

const isHttp = (protocol: string) => protocol === 'http:' || protocol === 'https:';

/** A name, which may end with the dot of the root, or an address; with any port. */
const HOST = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_-][a-z0-9._-]*?)\.?)(?::\d{0,5})?$/;

/** The name or address in a Host header, in lower case; undefined if it has another form. */
function nameIn(host: string): string | undefined {
  const [, address, name] = HOST.exec(host.toLowerCase()) ?? [];
  return address ?? name;
}

/** Compares without the default port of the origin's scheme. The scheme of the request is not known behind a proxy. */
export function isSameHost(origin: string, host: string | undefined): boolean {
  if (host === undefined) return false;
  if (origin === `http://${host}` || origin === `https://${host}`) return true;
  if (!URL.canParse(origin)) return false;
  const { protocol, host: itsHost } = new URL(origin);
  const requested = `${protocol}//${host}`;
  return isHttp(protocol) && URL.canParse(requested) && new URL(requested).host === itsHost;
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether only this machine reaches a server that listens on `host`: 127.0.0.0/8, ::1 or localhost. */
export function isLoopback(host: string): boolean {
  const version = isIP(host);
  if (version === 0) return host.toLowerCase() === 'localhost';
  return loopback.check(host, version === 4 ? 'ipv4' : 'ipv6');
}

/** Host names, separated by commas, in lower case. Throws a RangeError that names the first entry that is none. */
export function hostList(list: string): string[] {
  return list.split(',').map((entry) => {
    const name = entry.trim().toLowerCase();
    if (!/^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(name)) throw new RangeError(entry);
    return name;
  });
}

/** Origins of web pages, separated by commas. Throws a RangeError that names the first entry that is none. */
export function originList(list: string): string[] {
  return list.split(',').map((entry) => {
    const text = entry.trim();
    if (!URL.canParse(text) || !isHttp(new URL(text).protocol) || new URL(text).origin !== text)
      throw new RangeError(entry);
    return text;
  });
}
