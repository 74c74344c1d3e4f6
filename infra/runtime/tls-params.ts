// The query parameters of a URL that concern TLS, with the names that RabbitMQ's clients use. A certificate authority
// for all servers can also be given to Node.js, in NODE_EXTRA_CA_CERTS.
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import { choiceParam, type ServerUrl, UrlError } from './server-url.ts';

export const TLS_PARAMS = ['cacertfile', 'certfile', 'keyfile', 'verify', 'server_name_indication'] as const;

/** Options of tls.connect(). */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized: boolean;
  /** The name in the server's certificate. Absent: the host. */
  readonly servername?: string;
}

/** Undefined for a URL without TLS. Throws a UrlError, also for a file that cannot be read or holds nothing usable. */
export function tlsOptions({ params, scheme }: ServerUrl, isTls: boolean): TlsOptions | undefined {
  const given = TLS_PARAMS.filter((name) => params.has(name));
  if (!isTls && given.length > 0) throw new UrlError(`${given.join(', ')} has no effect on ${scheme}://, without TLS`);
  if (!isTls) return undefined;
  const servername = params.get('server_name_indication');
  return {
    ...certificates(params, { ca: 'cacertfile', cert: 'certfile', key: 'keyfile' }),
    rejectUnauthorized: choiceParam(params, 'verify', ['verify_peer', 'verify_none']) !== 'verify_none',
    ...(servername && { servername }),
  };
}

/** Reads the PEM files that these parameters name. */
export function certificates(
  params: ServerUrl['params'],
  names: { readonly ca: string; readonly cert: string; readonly key: string },
): Pick<TlsOptions, 'ca' | 'cert' | 'key'> {
  const files: { ca?: string; cert?: string; key?: string } = {};
  for (const part of ['ca', 'cert', 'key'] as const) {
    const path = params.get(names[part]);
    if (path !== undefined) files[part] = fileOf(path, names[part]);
  }
  if ((files.cert === undefined) !== (files.key === undefined))
    throw new UrlError(`${names.cert} and ${names.key} must be set together`);
  try {
    createSecureContext(files);
  } catch (error) {
    const used = Object.values(names).filter((name) => params.has(name));
    throw new UrlError(`${used.join(', ')}: not usable PEM files (${(error as Error).message})`);
  }
  return files;
}

function fileOf(path: string, name: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UrlError(`${name} cannot be read: ${(error as Error).message}`);
  }
}

/** For tls.connect(): names the server for its certificate, which must not be an address (RFC 6066). */
export const withServerName = (tls: TlsOptions, host: string): TlsOptions =>
  tls.servername !== undefined || isIP(host) > 0 ? tls : { ...tls, servername: host };
