// URLs of HTTP servers that this program calls.
import { bracketed, type HostAndPort, parseServerUrl, UrlError, type UrlKind } from '../runtime/server-url.ts';

export interface HttpUrl {
  /** Scheme, host and port. */
  readonly origin: string;
  /** The prefix of every path, percent-encoded, without a slash at its end: '' or `/shop`. */
  readonly base: string;
  /** For the header Authorization; undefined without a user or password. */
  readonly authorization: string | undefined;
}

const KIND: UrlKind = { schemes: { http: 80, https: 443 }, params: [] };

/** Throws a UrlError. */
export function parseHttpUrl(text: string): HttpUrl {
  const { scheme, user, password, hosts, path } = parseServerUrl(text, KIND);
  const [{ host, port }] = hosts as [HostAndPort];
  const credentials = user === undefined && password === undefined ? undefined : `${user ?? ''}:${password ?? ''}`;
  return {
    origin: `${scheme}://${bracketed(host)}${port === KIND.schemes[scheme] ? '' : `:${port}`}`,
    base: encodeURI(path && `/${path}`).replace(/\/$/, ''),
    authorization: credentials && `Basic ${Buffer.from(credentials).toString('base64')}`,
  };
}

/** For a setting: other processes show it, so it must not contain a password. Throws a UrlError. */
export function parseHttpUrlWithoutUser(text: string): HttpUrl {
  const url = parseHttpUrl(text);
  if (url.authorization !== undefined) throw new UrlError('', true);
  return url;
}
