// Requests of browsers: bodies from HTML forms besides JSON, and responses as pages.
import { isUtf8 } from 'node:buffer';
import express, { type Request, type RequestHandler } from 'express';
import { jsonBody } from './app.ts';
import { Problem } from './problem.ts';

const FORM = 'application/x-www-form-urlencoded';
const MAX_FORM_BYTES = 4096;
const MAX_FORM_FIELDS = 20;

const form = express.urlencoded({
  extended: false,
  limit: MAX_FORM_BYTES,
  parameterLimit: MAX_FORM_FIELDS,
  verify: (_request, _response, body) => {
    if (!isUtf8(body)) throw new TypeError('not UTF-8');
  },
});

const unsupported = () =>
  new Problem(415, 'unsupported-media-type', {
    title: 'This media type is not supported',
    detail: `Send Content-Type: application/json or ${FORM}, in UTF-8.`,
  });

/** Errors of the body parsers, by their documented `type`, for which the problem in problem.ts would name only JSON. */
function problemOf(error: unknown, isForm: boolean): unknown {
  const type = error instanceof Error && 'type' in error ? error.type : undefined;
  if (type === 'charset.unsupported' || type === 'encoding.unsupported') return unsupported();
  if (!isForm) return error;
  if (type === 'entity.too.large' || type === 'parameters.too.many') {
    return new Problem(413, 'body-too-large', {
      title: 'The body is too large',
      detail: `A form may have at most ${MAX_FORM_BYTES} bytes and ${MAX_FORM_FIELDS} fields.`,
    });
  }
  if (type === 'entity.verify.failed') {
    return new Problem(400, 'malformed-body', {
      title: 'The body cannot be read',
      detail: 'A form must be valid UTF-8.',
    });
  }
  return error;
}

/**
 * Reads a JSON body like `jsonBody`, or the fields of a form, into `request.body`. A field that is sent more than once
 * becomes an array of strings. Another media type gets a 415.
 */
export const formOrJsonBody: RequestHandler = (request, response, next) => {
  const type = request.is(['application/json', FORM]);
  if (type === false) throw unsupported();
  const isForm = type === FORM;
  (isForm ? form : jsonBody)(request, response, (error?: unknown) =>
    error === undefined ? next() : next(problemOf(error, isForm)),
  );
};

/** Whether the Accept header prefers text/html to application/json. Checks first for the common case without HTML. */
export function prefersHtml(request: Request): boolean {
  if (!request.headers.accept?.includes('text/html')) return false;
  return request.accepts(['application/json', 'text/html']) === 'text/html';
}
