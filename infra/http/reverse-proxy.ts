// The address under which clients reach this server if a reverse proxy serves it below a path, such as /shop. Links,
// redirects and forms must begin with that path: it is BASE_PATH, or what a trusted proxy says in X-Forwarded-Prefix.
import type { IncomingMessage, RequestListener } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { TLSSocket } from 'node:tls';
import { plainAddress } from '../access/client-address.ts';

/** Strict, because the path becomes part of pages and headers: segments of unreserved characters. */
const BASE_PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._~-]{1,64}){1,8}$/;
export const isBasePath = (path: string): boolean => BASE_PATH.test(path);

/** The base paths of requests that have one. */
const basePaths = new WeakMap<IncomingMessage, string>();

/** The path under which the client of a request reaches `path`, an absolute path of this server. */
export const pathFor = (request: IncomingMessage, path: string): string => `${basePaths.get(request) ?? ''}${path}`;

/** The requests that came to a trusted proxy by TLS. */
const secure = new WeakSet<IncomingMessage>();

/** Whether the client's connection is encrypted, to this server or to a trusted proxy in front. */
export const isSecure = (request: IncomingMessage): boolean =>
  request.socket instanceof TLSSocket || secure.has(request);

/** The addresses of the clients of trusted proxies. */
const forwardedFor = new WeakMap<IncomingMessage, string>();

/** The address of the client: that of the connection, or what a trusted proxy says in X-Forwarded-For. */
export const clientAddress = (request: IncomingMessage): string =>
  forwardedFor.get(request) ?? plainAddress(request.socket.remoteAddress);

/**
 * Addresses (10.1.2.3, ::1) and networks (10.0.0.0/8), separated by commas. Throws a RangeError that names the first
 * entry that is neither.
 */
export function addressList(list: string): BlockList {
  const addresses = new BlockList();
  for (const entry of list.split(',').map((each) => each.trim())) {
    const [, address = '', bits] = /^([0-9A-Fa-f.:]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
    const version = isIP(address);
    const allBits = version === 4 ? 32 : 128;
    if (version === 0 || Number(bits ?? 0) > allBits) throw new RangeError(entry);
    addresses.addSubnet(address, Number(bits ?? allBits), version === 4 ? 'ipv4' : 'ipv6');
  }
  return addresses;
}

export interface ReverseProxyOptions {
  /** Empty or a valid base path. */
  readonly basePath: string;
  /** The proxies whose X-Forwarded-Prefix, -Host, -Proto and -For count; undefined: none. */
  readonly trusted: BlockList | undefined;
}

export class ReverseProxy {
  readonly #basePath: string;
  readonly #trusted: BlockList | undefined;

  constructor({ basePath, trusted }: ReverseProxyOptions) {
    this.#basePath = basePath;
    this.#trusted = trusted;
  }

  /** A listener that sees requests as if their clients had come without a proxy. */
  before(next: RequestListener): RequestListener {
    if (this.#basePath === '' && !this.#trusted) return next;
    return (request, response) => {
      this.adopt(request);
      next(request, response);
    };
  }

  /** Changes a request to what its client sent to the proxy. */
  adopt(request: IncomingMessage): void {
    const { headers, socket } = request;
    let basePath = this.#basePath;
    // Proxies either remove the path before they pass on a request, or leave it.
    if (basePath !== '') request.url = withoutPrefix(request.url ?? '', basePath);
    if (this.#isTrusted(socket.remoteAddress)) {
      const prefix = headers['x-forwarded-prefix'];
      // Node joins two headers with a comma, which is no path: if the proxy has not replaced the client's, neither
      // counts.
      if (typeof prefix === 'string') {
        const path = prefix.replace(/\/$/, '');
        if (path === '' || isBasePath(path)) basePath = path;
      }
      const host = headers['x-forwarded-host'];
      if (typeof host === 'string' && HOST.test(host)) headers.host = host;
      if (headers['x-forwarded-proto'] === 'https') secure.add(request);
      const client = this.#clientIn(headers['x-forwarded-for']);
      if (client !== undefined) forwardedFor.set(request, client);
    }
    if (basePath !== '') basePaths.set(request, basePath);
  }

  /**
   * The last address that no trusted proxy has. Each proxy appends the address from which it got the request, so all
   * before it may be the client's invention.
   */
  #clientIn(header: string | string[] | undefined): string | undefined {
    let client: string | undefined;
    for (const entry of String(header ?? '')
      .split(',')
      .reverse()) {
      const address = withoutPort(entry.trim());
      if (isIP(address) === 0) break;
      client = plainAddress(address);
      if (!this.#isTrusted(address)) break;
    }
    return client;
  }

  #isTrusted(address: string | undefined): boolean {
    if (!this.#trusted || address === undefined) return false;
    return this.#trusted.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
  }
}

/** Some proxies append the port of the client. */
const withoutPort = (address: string): string => address.replace(/^\[(.*)\](?::\d+)?$|^([\d.]+):\d+$/, '$1$2');

/** A name or address with an optional port. */
const HOST = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

function withoutPrefix(url: string, prefix: string): string {
  if (!url.startsWith(prefix)) return url;
  const rest = url.slice(prefix.length);
  if (rest === '' || rest.startsWith('?')) return `/${rest}`;
  return rest.startsWith('/') ? rest : url;
}
