import { pino } from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import { ConcurrentUpdate, DatabaseUnavailable } from '../../infra/database/port.ts';
import { createApp, route } from '../../infra/http/app.ts';
import { type HttpServer, listen } from '../../infra/http/server.ts';
import { call } from '../setup/api.ts';

let server: HttpServer | undefined;
afterEach(() => server?.close());

describe('a request that the database cannot serve now', () => {
  test.each([new DatabaseUnavailable(new Error('gone')), new ConcurrentUpdate(new Error('deadlock detected'))])(
    'gets a 503 with Retry-After: %s',
    async (error) => {
      const app = createApp(pino({ level: 'silent' }), (router) =>
        route(router, '/', { get: [() => Promise.reject(error)] }),
      );
      server = await listen(app, '127.0.0.1', 0);
      const response = await call(server.url);
      expect(response.status).toBe(503);
      expect(response.headers['retry-after']).toBe('1');
      expect(response.body).toMatchObject({ type: '/problems/unavailable' });
    },
  );
});
