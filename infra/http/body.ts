// Reads the bodies of requests into `request.body`.
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import express, { type RequestHandler } from 'express';
import { bodyTooLarge, malformedBody, type Problem, unavailable, unsupportedMediaType } from './problem.ts';

export const MAX_BODY_BYTES = 1024 * 1024;

const verifyUtf8 = (_request: unknown, _response: unknown, body: Buffer) => {
  if (!isUtf8(body)) throw new TypeError('not UTF-8');
};

/** Larger ones count towards MAX_PENDING_BYTES. Nearly all bodies are smaller. */
const SMALL_BODY_BYTES = 16 * 1024;
/** Large bodies that arrive at the same time, in all: clients that send them slowly must not fill the memory. */
const MAX_PENDING_BYTES = 128 * MAX_BODY_BYTES;
let pendingBytes = 0;

/** Counts a large body until its response has ended. Throws a 503 if there are too many. */
function countPending({ headers }: IncomingMessage, response: ServerResponse): void {
  const isOpen = headers['transfer-encoding'] !== undefined || headers['content-encoding'] !== undefined;
  const bytes = isOpen ? MAX_BODY_BYTES : Number(headers['content-length'] ?? 0);
  if (bytes <= SMALL_BODY_BYTES) return;
  if (pendingBytes + bytes > MAX_PENDING_BYTES) throw unavailable('Too many large bodies at once. Try again.');
  pendingBytes += bytes;
  response.once('close', () => {
    pendingBytes -= bytes;
  });
}

/** Rejects a body as soon as it is too large. `read` alone would read the rest of it first, however long it is. */
const bounded =
  (read: RequestHandler, maxBytes: number, tooLarge: () => Problem): RequestHandler =>
  (request, response, next) => {
    if (Number(request.get('content-length') ?? 0) > maxBytes) throw tooLarge();
    countPending(request, response);
    if (request.get('transfer-encoding') === undefined) {
      read(request, response, next);
      return;
    }
    let received = 0;
    let ended = false;
    const end = (error?: unknown) => {
      if (ended) return;
      ended = true;
      request.off('data', count);
      next(error);
    };
    const count = (chunk: Buffer) => {
      received += chunk.length;
      if (received > maxBytes) end(tooLarge());
    };
    read(request, response, end);
    if (!ended) request.on('data', count);
  };

const json = bounded(
  express.json({
    limit: MAX_BODY_BYTES,
    strict: false, // a value that is no object is read, too, so that the schema can report it
    verify: verifyUtf8,
  }),
  MAX_BODY_BYTES,
  () => bodyTooLarge(),
);

/** Reads a JSON body; another media type gets a 415. */
const jsonBody: RequestHandler = (request, response, next) => {
  if (request.is('application/json') === false) throw unsupportedMediaType(request);
  json(request, response, next);
};

/** Reads an optional body with `read`. A client that sends none may set Content-Length: 0 and any media type. */
const optional =
  (read: RequestHandler): RequestHandler =>
  (request, response, next) => {
    if (request.get('content-length') === '0') next();
    else read(request, response, next);
  };

const FORM = 'application/x-www-form-urlencoded';
const MAX_FORM_BYTES = 4096;
const MAX_FORM_FIELDS = 20;

const formTooLarge = () =>
  bodyTooLarge(`A form may have at most ${MAX_FORM_BYTES} bytes and ${MAX_FORM_FIELDS} fields.`);

const form = bounded(
  express.urlencoded({
    extended: false,
    limit: MAX_FORM_BYTES,
    parameterLimit: MAX_FORM_FIELDS,
    verify: verifyUtf8,
  }),
  MAX_FORM_BYTES,
  formTooLarge,
);

/** Errors of the form parser, by their documented `type`, for which the problem in problem.ts would be about JSON. */
function formProblemOf(error: unknown): unknown {
  const type = error instanceof Error && 'type' in error ? error.type : undefined;
  if (type === 'entity.too.large' || type === 'parameters.too.many') return formTooLarge();
  if (type === 'entity.verify.failed') return malformedBody('A form must be UTF-8, and it has bytes that are not.');
  return error;
}

/**
 * Reads a JSON body, or the fields of an HTML form. A field that is sent more than once becomes an array of strings.
 * Another media type gets a 415.
 */
const formOrJsonBody: RequestHandler = (request, response, next) => {
  const type = request.is(['application/json', FORM]);
  if (type === false) throw unsupportedMediaType(request, `application/json or ${FORM}`);
  if (type === FORM) form(request, response, (error?: unknown) => next(error && formProblemOf(error)));
  else jsonBody(request, response, next);
};

/** Reads a body as its declaration says. `form`: it may be an HTML form; `optional`: it may be missing. */
export function bodyReader({ form, optional: mayBeMissing }: { form?: true; optional?: true }): RequestHandler {
  const read = form ? formOrJsonBody : jsonBody;
  return mayBeMissing ? optional(read) : read;
}
