// The HTTP application without its server: routes, bodies, errors.
import { isUtf8 } from 'node:buffer';
import express, { type Express, type RequestHandler, Router } from 'express';
import type { Logger } from 'pino';
import { notFound, Problem, problemHandler, unsupportedMediaType } from './problem.ts';

export const MAX_BODY_BYTES = 1024 * 1024;

const json = express.json({
  limit: MAX_BODY_BYTES,
  strict: false, // a value that is no object is read, too, so that the schema can report it
  verify: (_request, _response, body) => {
    if (!isUtf8(body)) throw new TypeError('not UTF-8');
  },
});

/** Reads a JSON body into `request.body`; another media type gets a 415. */
export const jsonBody: RequestHandler = (request, response, next) => {
  if (request.is('application/json') === false) throw unsupportedMediaType();
  json(request, response, next);
};

/** Reads an optional JSON body. A client that sends none may set Content-Length: 0 and no media type. */
export const optionalJsonBody: RequestHandler = (request, response, next) => {
  if (request.get('content-length') === '0') next();
  else jsonBody(request, response, next);
};

type Method = 'get' | 'post';

type Handlers = { readonly [M in Method]?: RequestHandler | RequestHandler[] };

/** Declares the handlers of a path; any other method gets a 405. */
export function route(router: Router, path: string, handlers: Handlers): void {
  const target = router.route(path);
  const allowed: string[] = [];
  if (handlers.get) {
    target.get(...[handlers.get].flat());
    allowed.push('GET', 'HEAD');
  }
  if (handlers.post) {
    target.post(...[handlers.post].flat());
    allowed.push('POST');
  }
  const allow = allowed.join(', ');
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
