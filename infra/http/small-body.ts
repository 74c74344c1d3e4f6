// Small bodies, read without a body parser.
import type { IncomingMessage } from 'node:http';

/**
 * Reads a body of at most `maxBytes` that has arrived whole by the time its request is handled, as nearly all small
 * ones have, and passes it to `handle`. If that returns false, or if the body is larger, in pieces, compressed or of
 * unknown length, `otherwise` gets the request as if nobody had read it. Neither is called if the client goes away
 * before it sent any of the body.
 */
export function readSmallBody(
  request: IncomingMessage,
  maxBytes: number,
  handle: (body: Buffer) => boolean,
  otherwise: () => void,
): void {
  const { 'content-length': length, 'transfer-encoding': transfer, 'content-encoding': coding } = request.headers;
  const bytes = Number(length);
  if (!(bytes > 0 && bytes <= maxBytes) || transfer !== undefined || coding !== undefined) {
    otherwise();
    return;
  }
  request.once('readable', () => {
    const body: Buffer | null = request.read();
    if (body?.length === bytes && handle(body)) return;
    if (body) request.unshift(body);
    otherwise();
  });
}
