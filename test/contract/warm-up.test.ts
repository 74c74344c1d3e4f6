// Warm-ups, over a real server.
import type { RequestListener } from 'node:http';
import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import { sendRequests, WarmUp } from '../../infra/http/warm-up.ts';
import { warmUpPurchases } from '../../services/flash-sale/warm-up.ts';
import { call } from '../setup/api.ts';

test('requests are answered, and nobody listens afterwards', async () => {
  const paths = new Set<string | undefined>();
  let host: string | undefined;
  const listener: RequestListener = (request, response) => {
    paths.add(request.url);
    host = request.headers.host;
    response.end();
  };
  const responses = await sendRequests(listener, (number) => ({ method: 'GET', path: `/${number}` }));
  const { 200: answered = 0, ...others } = responses;
  expect(others).toEqual({});
  // If this machine is too busy for 1,500 in a second, those that are under way then are dropped.
  expect(answered).toBeGreaterThan(0);
  expect(paths.size - answered).toBeLessThanOrEqual(answered === 1_500 ? 0 : 32);
  expect(paths).toContain('/0');
  await expect(call(`http://${host}/`)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('a listener that breaks connections fails the warm-up', async () => {
  const listener: RequestListener = (request) => request.destroy();
  await expect(sendRequests(listener, () => ({ method: 'GET', path: '/' }))).rejects.toThrow('other side closed');
});

test('a listener that does not respond ends the warm-up after a second, without an error', async () => {
  expect(
    await sendRequests(
      () => {},
      () => ({ method: 'GET', path: '/' }),
    ),
  ).toEqual({});
});

test('a warm-up of purchases: some are admitted, most are rejected, and none leaves a line in the log', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line) => void lines.push(line) });
  const { 202: admitted = 0, 429: rejected = 0, ...others } = await warmUpPurchases(log);
  expect(others).toEqual({});
  expect(admitted).toBeGreaterThan(0);
  expect(rejected).toBeGreaterThan(admitted);
  expect(lines).toEqual([]);
});

test('a warm-up is repeated after a minute, also if it failed', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    const messages: string[] = [];
    const log = pino({}, { write: (line) => void messages.push(JSON.parse(line).msg) });
    let runs = 0;
    const warmUp = new WarmUp(async () => {
      runs++;
      throw new Error('no loopback interface');
    }, log);
    await warmUp.run();
    await warmUp.run();
    expect(runs).toBe(1);
    expect(messages).toEqual(['warm-up failed, the first requests of a flood will be slower']);
    vi.advanceTimersByTime(60_000);
    await warmUp.run();
    expect(runs).toBe(2);
  } finally {
    vi.useRealTimers();
  }
});
