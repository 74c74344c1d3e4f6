import { pino } from 'pino';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import '../../contracts/text.ts'; // sets the messages
import { ConcurrentUpdate, DatabaseUnavailable } from '../../infra/database/port.ts';
import { reply } from '../../infra/http/api.ts';
import { createApp } from '../../infra/http/app.ts';

import { type HttpServer, listen } from '../../infra/http/server.ts';
import { unknownField } from '../../infra/http/unknown-field.ts';
import { call } from '../setup/api.ts';

vi.mock('../../infra/http/unknown-field.ts', { spy: true });

const route = { method: 'get', access: 'public', path: '/', responses: { 200: { json: z.unknown() } } } as const;

let server: HttpServer | undefined;
afterEach(() => server?.close());

describe('a request that the database cannot serve now', () => {
  test.each([new DatabaseUnavailable(new Error('gone')), new ConcurrentUpdate(new Error('deadlock detected'))])(
    'gets a 503 with Retry-After: %s',
    async (error) => {
      const app = createApp(pino({ level: 'silent' }), (api) => api.handle(route, () => Promise.reject(error)));
      server = await listen(app, '127.0.0.1', 0);
      const response = await call(server.url);
      expect(response.status).toBe(503);
      expect(response.headers['retry-after']).toBe('1');
      expect(response.body).toMatchObject({ type: '/problems/unavailable' });
    },
  );
});

describe('a request with unknown fields', () => {
  const schema = z.strictObject({ items: z.array(z.strictObject({ quantity: z.number() })), none: z.strictObject({}) });
  const problemFor = async (body: unknown) => {
    const app = createApp(pino({ level: 'silent' }), (api) =>
      api.handle(route, async () => reply(200, schema.parse(body))),
    );
    server = await listen(app, '127.0.0.1', 0);
    const response = await call(server.url);
    expect(response.status).toBe(422);
    return response.body as { detail: string; errors: unknown[] };
  };

  test('gets an error for each, with the name that was probably meant', async () => {
    const { errors } = await problemFor({ items: [{ quantity: 1, qty: 1, note: 1 }], none: { x: 1 } });
    expect(errors).toEqual([
      { path: 'items.0.qty', message: 'is not a known field; did you mean quantity?' },
      { path: 'items.0.note', message: 'is not a known field; known fields are quantity' },
      { path: 'none.x', message: 'must be left out: this request has no fields' },
    ]);
  });

  test('has no more names compared than errors are sent', async () => {
    vi.mocked(unknownField).mockClear();
    const unknown = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`field${index}`, 1]));
    const items = Array.from({ length: 2_000 }, () => ({ quantity: 1, ...unknown }));
    const { detail, errors } = await problemFor({ items, none: {} });
    expect([detail, errors.length, vi.mocked(unknownField).mock.calls.length]).toEqual([
      '40000 invalid fields.',
      20,
      20,
    ]);
  });
});
