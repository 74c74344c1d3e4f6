// Small bodies, read without a body parser.
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';

/**
 * Passes a body of at most `maxBytes` to `handle` if it has arrived whole, as nearly all small ones have when HttpServer
 * hands over their request. Returns false if `handle` does, or if the body is larger, incomplete, compressed or of
 * unknown length; the request is then as if nobody had read it.
 */
export function handleSmallBody(
  request: IncomingMessage,
  maxBytes: number,
  handle: (body: Buffer) => boolean,
): boolean {
  const { 'content-length': length, 'transfer-encoding': transfer, 'content-encoding': coding } = request.headers;
  const bytes = Number(length);
  if (!(bytes > 0 && bytes <= maxBytes) || transfer !== undefined || coding !== undefined) return false;
  if (request.readableLength !== bytes) return false;
  const body: Buffer = request.read();
  if (handle(body)) return true;
  request.unshift(body);
  return false;
}

const JSON_TYPES: ReadonlySet<string | undefined> = new Set([
  'application/json',
  'application/json; charset=utf-8',
  'application/json;charset=utf-8',
]);

/** The value of a body in JSON; undefined if the body or its media type has any but the usual form. */
export function jsonOf({ headers }: IncomingMessage, body: Buffer): unknown {
  if (!JSON_TYPES.has(headers['content-type']) || !isUtf8(body)) return undefined;
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}
