// The cookie that holds a browser's token. It counts only where no other site can have caused the request.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isSameHost } from './request-guard.ts';
import { isSecure, pathFor } from './reverse-proxy.ts';

export const SESSION_COOKIE = 'sluice-session';
/** Browsers drop a larger cookie, with its name and attributes, without a word. */
export const MAX_COOKIE_TOKEN = 3_800;

const VALUE = new RegExp(`(?:^|; ?)${SESSION_COOKIE}=([A-Za-z0-9._-]+)`, 'g');

/**
 * The token of the cookie; undefined if there is none or if it does not count. If there are two, a page of another name
 * of this site may have planted one, and neither counts.
 */
export function sessionToken(request: IncomingMessage): string | undefined {
  const { cookie } = request.headers;
  if (cookie === undefined) return undefined;
  const [token, another] = Array.from(cookie.matchAll(VALUE), ([, value]) => value);
  if (another !== undefined) return undefined;
  return token !== undefined && (isRead(request) || isFromThisOrigin(request)) ? token : undefined;
}

const isRead = ({ method }: IncomingMessage): boolean => method === 'GET' || method === 'HEAD';

/** By what browsers say about each request that changes something. */
function isFromThisOrigin({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site === 'same-origin';
  const { origin, host } = headers;
  return origin !== undefined && isSameHost(origin, host);
}

/** Sets the cookie until the token expires. */
export function setSession(response: ServerResponse, token: string, expiresAt: number): void {
  const maxAge = Math.max(0, Math.floor(expiresAt - Date.now() / 1_000));
  response.setHeader('Set-Cookie', `${SESSION_COOKIE}=${token}; Max-Age=${maxAge}; ${attributes(response)}`);
}

export function endSession(response: ServerResponse): void {
  response.setHeader('Set-Cookie', `${SESSION_COOKIE}=; Max-Age=0; ${attributes(response)}`);
}

/** Strict: not even a link from another site carries it. HttpOnly: no script of a page can read it. */
function attributes({ req: request }: ServerResponse): string {
  const secure = isSecure(request) ? '; Secure' : '';
  return `Path=${pathFor(request, '/')}; HttpOnly; SameSite=Strict${secure}`;
}
