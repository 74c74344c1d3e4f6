/** The reason that an error gives, for logs and stored errors. A host with several addresses has an error for each: the first counts. */
export function reasonOf(error: unknown): string {
  const first: unknown = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  if (!(first instanceof Error)) return String(first);
  const message = first.message || first.name;
  const cause = tlsCauseOf(first);
  return cause === undefined ? message : `${cause} (${message})`;
}

const unknownAuthority =
  'its certificate is not from an authority that this process trusts: set NODE_EXTRA_CA_CERTS, or sslrootcert or cacertfile in the URL of a server, to the file of its authority';

/** Why a server's certificate is rejected, by OpenSSL's and Node's codes, whose own messages name no remedy. */
const certificateCauses: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet, or the clock of this machine is wrong',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
};

const noTls = 'there is no TLS on this port';

/** Why a handshake fails, by the same codes. */
const tlsCauses: Readonly<Record<string, string>> = {
  ...certificateCauses,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'it speaks only versions of TLS that are no longer safe',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it requires a client certificate',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE:
    'it rejects the TLS handshake, perhaps because it requires a client certificate',
};

/** Why a TLS connection could not be made; undefined for any other error. */
function tlsCauseOf(error: Error): string | undefined {
  const { code, message } = error as NodeJS.ErrnoException;
  if (message.includes('before secure TLS connection was established'))
    return `it ended the TLS handshake: ${noTls}, or it requires a client certificate`;
  const known = code === undefined ? undefined : tlsCauses[code];
  if (known !== undefined) return known;
  return /wrong version number|packet length too long/i.test(message) ? noTls : undefined;
}

/** Whether an error says that the certificate of a server is rejected. */
export const isCertificateRejected = (error: Error): boolean =>
  'code' in error && typeof error.code === 'string' && error.code in certificateCauses;

/** Whether an error came from a TLS handshake, before any request was processed. */
export const isTlsFailure = (error: unknown): boolean => error instanceof Error && tlsCauseOf(error) !== undefined;

const MAX_PUBLIC_LENGTH = 300;

/**
 * The same for public responses: one line, without the addresses and URLs that an error may name, because they show how
 * a network is built.
 */
export function publicReasonOf(error: unknown): string {
  const text = reasonOf(error)
    .replace(/\s+/g, ' ')
    .replace(/\b[a-z][a-z0-9+.-]*:\/\/[^\s'"]+/gi, '<url>')
    // What system calls name: "connect ECONNREFUSED 127.0.0.1:5432", "getaddrinfo ENOTFOUND db.internal".
    .replace(/\b(E[A-Z_]{3,}) \S+/g, '$1 <address>')
    .replace(/\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b/g, '<address>')
    .replace(/(?<![\w:])(?!\d\d:\d\d:\d\d\b)(?=[\da-f:]*:[\da-f:]*:)[\da-f:]{3,}(?:%\w+)?/gi, '<address>')
    .replace(/\b[\w-]+(?:\.[\w-]+)+:\d+\b/g, '<address>');
  return text.length > MAX_PUBLIC_LENGTH ? `${text.slice(0, MAX_PUBLIC_LENGTH)}…` : text;
}
