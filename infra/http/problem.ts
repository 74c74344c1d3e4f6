// RFC 9457 problem details. Errors become HTTP responses only here.
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { ErrorRequestHandler } from 'express';
import type { Logger } from 'pino';
import { ZodError } from 'zod';
import { ConcurrentUpdate, DatabaseUnavailable, Overloaded } from '../database/port.ts';

interface ProblemDetails {
  readonly title: string;
  readonly detail?: string | undefined;
  /** `path`: of the field, such as `items.0.quantity`. */
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
  readonly headers?: Readonly<Record<string, string>>;
}

export class Problem extends Error {
  readonly status: number;
  override readonly name: string;
  readonly details: ProblemDetails;
  #body: Buffer | undefined;

  constructor(status: number, name: string, details: ProblemDetails) {
    super(details.detail ?? details.title);
    this.status = status;
    this.name = name;
    this.details = details;
  }

  /** Serialized once, however often the problem is sent. `further`: headers of this response alone. */
  send(response: ServerResponse, further?: OutgoingHttpHeaders): void {
    const { name, status } = this;
    const { title, detail, errors, headers } = this.details;
    this.#body ??= Buffer.from(JSON.stringify({ type: `/problems/${name}`, title, status, detail, errors }));
    const type = { 'Content-Type': 'application/problem+json; charset=utf-8', 'Content-Length': this.#body.length };
    response.writeHead(status, { ...type, ...headers, ...further }).end(this.#body);
  }
}

export const notFound = (what: string) => new Problem(404, 'not-found', { title: `There is no such ${what}` });

export const unavailable = (detail: string, retryAfterSeconds = 1) =>
  new Problem(503, 'unavailable', {
    title: 'Not available right now',
    detail,
    headers: { 'Retry-After': String(retryAfterSeconds) },
  });

export const concurrentUpdate = () => unavailable('Concurrent update, please retry.');

/** The problem that a client sees. Undefined for an unexpected error. */
function problemOf(error: unknown): Problem | undefined {
  if (error instanceof Problem) return error;
  if (error instanceof ZodError) {
    return new Problem(422, 'invalid-request', {
      title: 'The request is not valid',
      detail: error.issues.length === 1 ? 'Invalid field.' : `${error.issues.length} invalid fields.`,
      // Bounded, so that the response to a large body with an error in every item stays smaller than that body.
      errors: error.issues.slice(0, 20).map(({ path, message }) => ({ path: path.join('.'), message })),
    });
  }
  if (error instanceof DatabaseUnavailable) return unavailable('The database does not answer. Try again.');
  if (error instanceof Overloaded) return unavailable('Too many requests are waiting. Try again.');
  if (error instanceof URIError) return notFound('resource');
  if (error instanceof ConcurrentUpdate) return concurrentUpdate();
  return bodyProblemOf(error);
}

export const malformedBody = (detail = 'It must be JSON in valid UTF-8.') =>
  new Problem(400, 'malformed-body', { title: 'The body cannot be read', detail });

export const bodyTooLarge = (detail = 'A body may have at most 1 MiB.') =>
  new Problem(413, 'body-too-large', { title: 'The body is too large', detail });

export const unsupportedMediaType = (detail = 'Send Content-Type: application/json, in UTF-8.') =>
  new Problem(415, 'unsupported-media-type', { title: 'This media type is not supported', detail });

/** Errors of the body parser, by their documented `type`. */
const bodyProblems: Readonly<Record<string, () => Problem>> = {
  'entity.too.large': bodyTooLarge,
  'charset.unsupported': unsupportedMediaType,
  'encoding.unsupported': unsupportedMediaType,
  'request.aborted': malformedBody,
  'request.size.invalid': malformedBody,
  'entity.parse.failed': malformedBody,
  'entity.verify.failed': malformedBody,
};

/** Errors of decompression have zlib's `code` instead of a `type`. */
function bodyProblemOf(error: unknown): Problem | undefined {
  const { type, status, code } = error as { type?: unknown; status?: unknown; code?: unknown };
  if (typeof code === 'string' && /^(Z_|ERR_)/.test(code) && status === 400) return malformedBody();
  if (typeof type !== 'string' || typeof status !== 'number') return undefined;
  const known = bodyProblems[type]?.();
  if (known || status >= 500) return known;
  return new Problem(status, 'bad-request', { title: 'The request cannot be read' });
}

/**
 * Sends the problem that an error means to a client, never a stack trace. Logs an unexpected error. Once a response has
 * begun, only the end of its connection can tell the client, so the connection is destroyed.
 */
export function sendError(log: Logger, error: unknown, request: IncomingMessage, response: ServerResponse): void {
  let problem = problemOf(error);
  if (!problem) {
    log.error({ method: request.method, path: request.url?.split('?')[0], err: error }, 'unexpected error');
    problem = new Problem(500, 'internal-error', { title: 'Something went wrong here' });
  }
  if (response.headersSent) response.destroy();
  else problem.send(response);
}

/** Express recognises an error handler by its four parameters. */
export function problemHandler(log: Logger): ErrorRequestHandler {
  return (error, request, response, _next) => sendError(log, error, request, response);
}

/** A JSON response without Express. */
export function sendJson(response: ServerResponse, status: number, value: object, headers: OutgoingHttpHeaders): void {
  const body = Buffer.from(JSON.stringify(value));
  const type = { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': body.length };
  response.writeHead(status, { ...type, ...headers }).end(body);
}
