// Sends whole responses. Every response of this server is sent here, so every one has the security headers.
import { type OutgoingHttpHeader, type OutgoingHttpHeaders, type ServerResponse, STATUS_CODES } from 'node:http';
import { securityHeaders } from './security-headers.ts';

const headersOf = (body: Buffer, headers: OutgoingHttpHeaders): OutgoingHttpHeaders => ({
  ...securityHeaders,
  'Content-Length': body.length,
  ...headers,
});

/** `headers` may replace security headers, as those of a page do. */
export function send(response: ServerResponse, status: number, headers: OutgoingHttpHeaders, body: Buffer): void {
  const all = headersOf(body, headers);
  const vary = response.getHeader('Vary'); // set for CORS; writeHead would replace it
  if (vary !== undefined && all.Vary !== undefined) all.Vary = `${vary}, ${all.Vary}`;
  response.writeHead(status, all).end(body);
}

/** Text or HTML, with the Content-Type in `headers`. */
export const sendText = (response: ServerResponse, status: number, headers: OutgoingHttpHeaders, text: string): void =>
  send(response, status, headers, Buffer.from(text));

/** A response for a connection without a ServerResponse, which it ends. */
export function rawResponse(status: number, headers: OutgoingHttpHeaders, body: Buffer): Buffer {
  const lines = Object.entries({ ...headersOf(body, headers), Connection: 'close' }).map(
    ([name, value]: [string, OutgoingHttpHeader | undefined]) => `${name}: ${value}\r\n`,
  );
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n`), body]);
}
