// A server with short limits, in a process of its own, so that a test can measure its memory while it attacks it.
import { pino } from 'pino';
import { z } from 'zod';
import { reply } from '../../infra/http/api.ts';
import { createApp } from '../../infra/http/app.ts';
import { RequestGuard } from '../../infra/http/request-guard.ts';
import { send } from '../../infra/http/send.ts';
import { listen } from '../../infra/http/server.ts';
import type { Facts, LIMITS } from './limits.ts';

/** More than the buffers of both ends of a connection hold. */
const large = Buffer.alloc(16 * 1024 * 1024, 'x');

const schema = z.object({ text: z.string() });
const json = { json: schema };
const app = createApp(pino({ level: 'silent' }), (api) => {
  api.handle({ method: 'get', access: 'public', path: '/small', responses: { 200: json } }, async () =>
    reply(200, { text: 'ok' }),
  );
  api.handle(
    { method: 'get', access: 'public', path: '/large', responses: { 200: json } },
    async (_input, _request, response) => {
      send(response, 200, {}, large);
      return undefined;
    },
  );
  const form = { schema, form: true } as const;
  api.handle(
    { method: 'post', access: 'public', path: '/echo', body: form, responses: { 200: json } },
    async ({ body }) => reply(200, { text: String(body.text.length) }),
  );
});
const guard = new RequestGuard({ hosts: [], origins: [], exposedHeaders: [] });

let dropped = 0;
const limits: typeof LIMITS = JSON.parse(process.argv[2] ?? '{}');
const { server, url } = await listen(guard.before(app), '127.0.0.1', 0, { ...limits, onDrop: () => dropped++ });
process.on('message', () =>
  server.getConnections((_error, connections) => {
    const facts: Facts = { dropped, connections, residentBytes: process.memoryUsage.rss() };
    process.send?.(facts);
  }),
);
process.on('disconnect', () => process.exit());
process.send?.(url);
