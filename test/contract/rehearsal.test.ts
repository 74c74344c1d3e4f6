// Rehearsals of requests, over a real server.
import type { RequestListener } from 'node:http';
import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import { Rehearsal, rehearse } from '../../infra/http/rehearsal.ts';
import { rehearsePurchases } from '../../services/flash-sale/rehearsal.ts';
import { call } from '../setup/api.ts';

test('every request is answered, and nobody listens afterwards', async () => {
  const paths = new Set<string | undefined>();
  let host: string | undefined;
  const listener: RequestListener = (request, response) => {
    paths.add(request.url);
    host = request.headers.host;
    response.end();
  };
  const responses = await rehearse(listener, (number) => ({ method: 'GET', path: `/${number}` }));
  expect(responses).toEqual({ 200: paths.size }); // 1,500, or fewer if this machine is busy for a second
  expect(paths).toContain('/0');
  await expect(call(`http://${host}/`)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('a listener that breaks connections fails the rehearsal', async () => {
  const listener: RequestListener = (request) => request.destroy();
  await expect(rehearse(listener, () => ({ method: 'GET', path: '/' }))).rejects.toThrow('other side closed');
});

test('purchases are rehearsed: some are admitted, most are rejected, and none leaves a line in the log', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line) => void lines.push(line) });
  const { 202: admitted = 0, 429: rejected = 0, ...others } = await rehearsePurchases(log);
  expect(others).toEqual({});
  expect(rejected / admitted).toBeCloseTo(7, 1);
  expect(lines).toEqual([]);
});

test('a rehearsal is repeated after a minute, also if it failed', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    const messages: string[] = [];
    const log = pino({}, { write: (line) => void messages.push(JSON.parse(line).msg) });
    let runs = 0;
    const rehearsal = new Rehearsal(async () => {
      runs++;
      throw new Error('no loopback interface');
    }, log);
    await rehearsal.run();
    await rehearsal.run();
    expect(runs).toBe(1);
    expect(messages).toEqual(['requests not rehearsed']);
    vi.advanceTimersByTime(60_000);
    await rehearsal.run();
    expect(runs).toBe(2);
  } finally {
    vi.useRealTimers();
  }
});
