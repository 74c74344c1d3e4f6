// The HTTP application without its server.
import express, { type Express } from 'express';
import type { Logger } from 'pino';
import { Api } from './api.ts';
import type { Authentication } from './authentication.ts';
import { notFound, problemHandler } from './problem.ts';

/** An application with the routes that `declare` adds. Without `authentication`, everybody may do everything. */
export function createApp(log: Logger, declare: (api: Api) => void, authentication?: Authentication): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  const api = new Api(authentication);
  declare(api);
  app.use(api.router());
  app.use(() => {
    throw notFound('resource');
  });
  app.use(problemHandler(log));
  return app;
}
