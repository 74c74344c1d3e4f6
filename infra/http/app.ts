// The HTTP application without its server.
import type { IncomingMessage } from 'node:http';
import accepts from 'accepts';
import express, { type Express } from 'express';
import type { Logger } from 'pino';
import { Api } from './api.ts';
import { notFound, problemHandler } from './problem.ts';

/** An application with the routes that `declare` adds. */
export function createApp(log: Logger, declare: (api: Api) => void): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  const api = new Api();
  declare(api);
  app.use(api.router());
  app.use(() => {
    throw notFound('resource');
  });
  app.use(problemHandler(log));
  return app;
}

/** Whether the Accept header prefers text/html to application/json. Checks first for the common case without HTML. */
export function prefersHtml(request: IncomingMessage): boolean {
  if (!request.headers.accept?.includes('text/html')) return false;
  return accepts(request).type('application/json', 'text/html') === 'text/html';
}
