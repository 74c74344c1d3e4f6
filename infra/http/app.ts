// The HTTP application without its server: routes, and requests whose parts are checked before a handler uses them.
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import accepts from 'accepts';
import express, { type Express, type RequestHandler, Router } from 'express';
import type { Logger } from 'pino';
import { z } from 'zod';
import { bodyTooLarge, malformedBody, notFound, Problem, problemHandler, unsupportedMediaType } from './problem.ts';

export const MAX_BODY_BYTES = 1024 * 1024;

const verifyUtf8 = (_request: unknown, _response: unknown, body: Buffer) => {
  if (!isUtf8(body)) throw new TypeError('not UTF-8');
};

const json = express.json({
  limit: MAX_BODY_BYTES,
  strict: false, // a value that is no object is read, too, so that the schema can report it
  verify: verifyUtf8,
});

/** Reads a JSON body into `request.body`; another media type gets a 415. */
export const jsonBody: RequestHandler = (request, response, next) => {
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

const form = express.urlencoded({
  extended: false,
  limit: MAX_FORM_BYTES,
  parameterLimit: MAX_FORM_FIELDS,
  verify: verifyUtf8,
});

/** Errors of the form parser, by their documented `type`, for which the problem in problem.ts would be about JSON. */
function formProblemOf(error: unknown): unknown {
  const type = error instanceof Error && 'type' in error ? error.type : undefined;
  if (type === 'entity.too.large' || type === 'parameters.too.many')
    return bodyTooLarge(`A form may have at most ${MAX_FORM_BYTES} bytes and ${MAX_FORM_FIELDS} fields.`);
  if (type === 'entity.verify.failed') return malformedBody('A form must be UTF-8, and it has bytes that are not.');
  return error;
}

/**
 * Reads a JSON body like `jsonBody`, or the fields of an HTML form, into `request.body`. A field that is sent more than
 * once becomes an array of strings. Another media type gets a 415.
 */
export const formOrJsonBody: RequestHandler = (request, response, next) => {
  const type = request.is(['application/json', FORM]);
  if (type === false) throw unsupportedMediaType(request, `application/json or ${FORM}`);
  if (type === FORM) form(request, response, (error?: unknown) => next(error && formProblemOf(error)));
  else jsonBody(request, response, next);
};

export const optionalJsonBody = optional(jsonBody);
export const optionalFormOrJsonBody = optional(formOrJsonBody);

const emptyBody = z.strictObject({});

/** For a request without a body: fields in one are unknown fields. */
export const noBody: RequestHandler[] = [
  optionalFormOrJsonBody,
  (request, _response, next) => {
    parse(emptyBody, request.body ?? {});
    next();
  },
];

/** Whether the Accept header prefers text/html to application/json. Checks first for the common case without HTML. */
export function prefersHtml(request: IncomingMessage): boolean {
  if (!request.headers.accept?.includes('text/html')) return false;
  return accepts(request).type('application/json', 'text/html') === 'text/html';
}

interface Handlers {
  readonly get?: RequestHandler | RequestHandler[];
  readonly post?: RequestHandler | RequestHandler[];
  /** The only requests that may have an Idempotency-Key: a client that sends one relies on it. */
  readonly honoursIdempotencyKey?: 'post';
}

export const IDEMPOTENCY_KEY = 'Idempotency-Key';

const rejectIdempotencyKey: RequestHandler = (request, _response, next) => {
  if (request.get(IDEMPOTENCY_KEY) === undefined) return next();
  const message = 'must be left out: this request may be repeated without it';
  throw new z.ZodError([{ code: 'custom', path: [IDEMPOTENCY_KEY], message, input: undefined }]);
};

/** Declares the handlers of a path; any other method gets a 405. */
export function route(router: Router, path: string, handlers: Handlers): void {
  const target = router.route(path);
  const { get, post, honoursIdempotencyKey } = handlers;
  if (get) target.get(rejectIdempotencyKey, ...[get].flat());
  if (post) target.post(...(honoursIdempotencyKey ? [] : [rejectIdempotencyKey]), ...[post].flat());
  const allow = [...(get ? ['GET', 'HEAD'] : []), ...(post ? ['POST'] : [])].join(', ');
  target.all(() => {
    throw new Problem(405, 'method-not-allowed', {
      title: 'This method is not allowed here',
      detail: `Allowed: ${allow}.`,
      headers: { Allow: allow },
    });
  });
}

/** An application with the routes that `declare` adds. */
export function createApp(log: Logger, declare: (router: Router) => void): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  const router = Router();
  declare(router);
  app.use(router);
  app.use(() => {
    throw notFound('resource');
  });
  app.use(problemHandler(log));
  return app;
}

/** Returns the parsed value, or throws a ZodError (422) whose paths begin with `name` if given. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, name?: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const prefix = name === undefined ? [] : [name];
  throw new z.ZodError(parsed.error.issues.map((issue) => ({ ...issue, path: [...prefix, ...issue.path] })));
}

/** Throws 404 for a path segment that does not match its schema, because no resource can have that name. */
export function parsePath<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw notFound(what);
  return parsed.data;
}

/** In lower case, as in the database. */
const id = z.uuid().toLowerCase();
export const parseId = (value: unknown, what: string): string => parsePath(id, value, what);
