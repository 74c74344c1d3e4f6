// The reasons of TLS connections that could not be made, on real servers: their own messages do not name the cause.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { type ConnectionOptions, connect, createServer as createTlsServer } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { reasonOf } from '../../infra/runtime/reason.ts';

// Self-signed, for shop.example only; for tests.
const cert = `-----BEGIN CERTIFICATE-----
MIIBnjCCAUSgAwIBAgIUHylukmNasRaV/6JVvHQxF+vJSIIwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMc2hvcC5leGFtcGxlMCAXDTI2MTEyODIxNDc0NFoYDzIxMjYx
MTA0MjE0NzQ0WjAXMRUwEwYDVQQDDAxzaG9wLmV4YW1wbGUwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAAQSJaBYHRgBoeBfA9sVggcG9ndEDvOZ06NOYdtU4OGA6ySS
KOYfe2HPCfXbsqt8wNI8RtfO5cKea9/OW08ZLuYqo2wwajAdBgNVHQ4EFgQULtg0
kOYCi2bEzYNvCrX2gQ65QnswHwYDVR0jBBgwFoAULtg0kOYCi2bEzYNvCrX2gQ65
QnswDwYDVR0TAQH/BAUwAwEB/zAXBgNVHREEEDAOggxzaG9wLmV4YW1wbGUwCgYI
KoZIzj0EAwIDSAAwRQIhAN6lSI+ko+O6cAl9NV73t5BdacMfDf/5U3SEWl4UFGFB
AiAfmir5ly/3PvwRveBs7jC11/2HGMwD547by5dDJOwNdA==
-----END CERTIFICATE-----
`;
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHSFfnuvhxISTM19I
ew0LJfP+LCeZjSpiGVP/rkvDhLahRANCAAQSJaBYHRgBoeBfA9sVggcG9ndEDvOZ
06NOYdtU4OGA6ySSKOYfe2HPCfXbsqt8wNI8RtfO5cKea9/OW08ZLuYq
-----END PRIVATE KEY-----
`;

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Why a TLS connection to the server fails. */
async function reasonAt(server: Server, options: ConnectionOptions = {}): Promise<string> {
  servers.push(server.on('error', () => undefined));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect({ host: '127.0.0.1', port, ...options });
  const [error] = await once(socket, 'error');
  socket.destroy();
  return reasonOf(error);
}

const tlsServer = (options = {}) => {
  const server = createTlsServer({ cert, key, ...options }, (socket) => socket.on('error', () => undefined).end());
  return server.on('tlsClientError', () => undefined);
};

test('a server without TLS on this port', async () => {
  const answering = createServer((socket) =>
    socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  );
  expect(await reasonAt(answering)).toMatch(/^there is no TLS on this port \(.*wrong version number/s);
  const closing = createServer((socket) => socket.on('error', () => undefined).end());
  expect(await reasonAt(closing)).toMatch(/^it ended the TLS handshake: there is no TLS on this port, or it requires/);
});

test('a certificate that is from no known authority, or for another host', async () => {
  expect(await reasonAt(tlsServer())).toMatch(/^its certificate is not from an authority .* set NODE_EXTRA_CA_CERTS/);
  expect(await reasonAt(tlsServer(), { ca: cert, servername: 'other.example' })).toMatch(
    /^its certificate is for another host name \(.*other\.example/,
  );
});

test('a server that requires a client certificate', async () => {
  const strict = tlsServer({ requestCert: true, rejectUnauthorized: true, ca: cert });
  expect(await reasonAt(strict, { ca: cert, servername: 'shop.example' })).toMatch(/requires a client certificate/);
});

test('any other error keeps its message', () => {
  expect(reasonOf(new Error('gone'))).toBe('gone');
  expect(reasonOf(new AggregateError([new Error('first'), new Error('second')]))).toBe('first');
  expect(reasonOf('text')).toBe('text');
});
