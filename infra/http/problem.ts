// RFC 9457 problem details. Errors become HTTP responses only here.
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import zlib from 'node:zlib';
import type { ErrorRequestHandler } from 'express';
import type { Logger } from 'pino';
import { ZodError } from 'zod';
import { RateLimited } from '../access/rejections.ts';
import { ConcurrentUpdate, DatabaseUnavailable, Overloaded } from '../database/port.ts';
import { rawResponse, send } from './send.ts';
import { unknownField } from './unknown-field.ts';

/** `path`: of the field, such as `items.0.quantity`. */
interface FieldError {
  readonly path: string;
  readonly message: string;
}

interface ProblemDetails {
  readonly title: string;
  readonly detail?: string | undefined;
  readonly errors?: readonly FieldError[];
  readonly headers?: Readonly<Record<string, string>>;
}

const TYPE = { 'Content-Type': 'application/problem+json; charset=utf-8' };

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
    send(response, this.status, { ...TYPE, ...this.details.headers, ...further }, this.#serialized());
  }

  /** Sends the problem over a connection without a response, which then ends. */
  end(socket: Duplex): void {
    socket.on('error', () => socket.destroy());
    const response = rawResponse(this.status, { ...TYPE, ...this.details.headers }, this.#serialized());
    socket.end(response, () => socket.destroy());
  }

  #serialized(): Buffer {
    const { name, status } = this;
    const { title, detail, errors } = this.details;
    this.#body ??= Buffer.from(JSON.stringify({ type: `/problems/${name}`, title, status, detail, errors }));
    return this.#body;
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

export const rateLimited = ({ message, headers }: RateLimited) =>
  new Problem(429, 'rate-limited', { title: 'Too many requests', detail: message, headers });

/** The problem that a client sees. Undefined for an unexpected error. */
function problemOf(error: unknown, request: IncomingMessage): Problem | undefined {
  if (error instanceof Problem) return error;
  if (error instanceof ZodError) {
    const errors = error.issues.flatMap(faultyFields);
    return new Problem(422, 'invalid-request', {
      title: 'The request is not valid',
      detail: errors.length === 1 ? 'Invalid field.' : `${errors.length} invalid fields.`,
      // Bounded, so that the response to a large body with an error in every item stays smaller than that body, and
      // only so many names are compared with the known ones.
      errors: errors.slice(0, 20).map(fieldError),
    });
  }
  if (error instanceof DatabaseUnavailable) return unavailable('The database does not answer. Try again.');
  if (error instanceof Overloaded) return unavailable('Too many requests are waiting. Try again.');
  if (error instanceof RateLimited) return rateLimited(error);
  if (error instanceof URIError) return notFound('resource');
  if (error instanceof ConcurrentUpdate) return concurrentUpdate();
  return bodyProblemOf(error, request);
}

type Issue = ZodError['issues'][number];

interface FaultyField {
  readonly issue: Issue;
  /** The name, of an unknown field only. */
  readonly unknown?: string;
}

/** An issue is about one field, or about all unknown fields of an object. */
const faultyFields = (issue: Issue): FaultyField[] =>
  issue.code === 'unrecognized_keys' ? issue.keys.map((unknown) => ({ issue, unknown })) : [{ issue }];

/** The message about unknown fields is a list of the known ones: see contracts/text.ts. */
function fieldError({ issue: { path, message }, unknown }: FaultyField): FieldError {
  if (unknown === undefined) return { path: path.join('.'), message };
  return { path: [...path, unknown].join('.'), message: unknownField(unknown, message ? message.split('\n') : []) };
}

export const badRequest = (detail?: string) =>
  new Problem(400, 'bad-request', { title: 'The request cannot be read', detail });

export const headersTooLarge = new Problem(431, 'headers-too-large', {
  title: 'The headers are too large',
  detail: 'A request may have 200 headers, of 16 KiB in all.',
});

export const malformedBody = (detail: string) =>
  new Problem(400, 'malformed-body', { title: 'The body cannot be read', detail });

export const bodyTooLarge = (detail = 'A body may have at most 1 MiB.') =>
  new Problem(413, 'body-too-large', { title: 'The body is too large', detail });

/** `allowed`: the media types. */
export function unsupportedMediaType({ headers }: IncomingMessage, allowed = 'application/json'): Problem {
  const type = headers['content-type']?.split(';')[0];
  return new Problem(415, 'unsupported-media-type', {
    title: 'This media type is not supported',
    detail: `Content-Type is ${type ? `${type.slice(0, 100)}, not` : 'missing: send'} ${allowed}.`,
  });
}

const encodings = ['gzip', 'deflate', 'br', ...('createZstdDecompress' in zlib ? ['zstd'] : [])].join(', ');

const unsupportedEncoding = ({ headers }: IncomingMessage) =>
  new Problem(415, 'unsupported-media-type', {
    title: 'This content encoding is not supported',
    detail: `Content-Encoding is ${headers['content-encoding']?.slice(0, 100)}. Send ${encodings} or none.`,
    headers: { 'Accept-Encoding': encodings },
  });

const unsupportedCharset = ({ headers }: IncomingMessage) =>
  new Problem(415, 'unsupported-media-type', {
    title: 'This charset is not supported',
    detail: `Content-Type is ${headers['content-type']?.slice(0, 100)}. Send charset=utf-8 or none.`,
  });

/** Errors of the body parsers, by their documented `type`. */
const bodyProblems: Readonly<Record<string, (request: IncomingMessage, error: Error) => Problem>> = {
  'entity.too.large': () => bodyTooLarge(),
  'charset.unsupported': unsupportedCharset,
  'encoding.unsupported': unsupportedEncoding,
  'request.aborted': () => malformedBody('It has not arrived whole.'),
  'request.size.invalid': () => malformedBody('Its length is not the one of Content-Length.'),
  'entity.parse.failed': (_request, { message }) => malformedBody(`It must be JSON: ${message}.`),
  'entity.verify.failed': () => malformedBody('It must be UTF-8, and has bytes that are not.'),
};

function bodyProblemOf(error: unknown, request: IncomingMessage): Problem | undefined {
  if (!(error instanceof Error)) return undefined;
  const { type, status, code } = error as { type?: unknown; status?: unknown; code?: unknown };
  // Errors of decompression have zlib's `code` instead of a `type`.
  if (typeof code === 'string' && /^(Z_|ERR_|ZSTD_)/.test(code) && status === 400)
    return malformedBody(
      `It is not what Content-Encoding says, ${request.headers['content-encoding']?.slice(0, 100)}.`,
    );
  if (typeof type !== 'string' || typeof status !== 'number') return undefined;
  const known = bodyProblems[type]?.(request, error);
  if (known || status >= 500) return known;
  return new Problem(status, 'bad-request', { title: 'The request cannot be read' });
}

/**
 * Sends the problem that an error means to a client, never a stack trace. Logs an unexpected error. Once a response has
 * begun, only the end of its connection can tell the client, so the connection is destroyed.
 */
export function sendError(log: Logger, error: unknown, request: IncomingMessage, response: ServerResponse): void {
  let problem = problemOf(error, request);
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
export function sendJson(response: ServerResponse, status: number, value: unknown, headers: OutgoingHttpHeaders): void {
  const type = { 'Content-Type': 'application/json; charset=utf-8' };
  send(response, status, { ...type, ...headers }, Buffer.from(JSON.stringify(value)));
}
