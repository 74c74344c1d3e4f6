import { describe, expect, test } from 'vitest';
import { Agenda } from '../../demos/flash-sale/agenda.ts';
import { decaying, mulberry32, planOf } from '../../demos/flash-sale/arrivals.ts';
import { nextVisit } from '../../demos/flash-sale/crowd.ts';
import { type PurchaseResponse, readResponse } from '../../demos/flash-sale/purchases.ts';
import { eventually } from '../setup/wait.ts';

const options = { seed: 7, buyers: 10_000, seconds: 10, repeat: 5, patience: 3 };
const shareOf = <T>(values: readonly T[], holds: (value: T) => boolean) => values.filter(holds).length / values.length;

describe('the random numbers', () => {
  test('are spread evenly from 0 to below 1', () => {
    const random = mulberry32(1);
    const numbers = Array.from({ length: 20_000 }, random);
    for (let tenth = 0; tenth < 10; tenth++)
      expect(shareOf(numbers, (number) => Math.floor(number * 10) === tenth)).toBeCloseTo(0.1, 1.5);
  });

  test('decay to their bound and never exceed it', () => {
    const random = mulberry32(1);
    const numbers = Array.from({ length: 20_000 }, () => decaying(random, 2, 10));
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers)).toBeLessThanOrEqual(10);
    expect(shareOf(numbers, (number) => number < 2)).toBeCloseTo((1 - Math.exp(-1)) / (1 - Math.exp(-5)), 1.5);
  });
});

describe('the arrivals', () => {
  test('are the same for the same seed, and others for another', () => {
    expect(planOf(options)).toEqual(planOf(options));
    const arrivals = ({ visits }: ReturnType<typeof planOf>) => visits.map(({ atMs }) => atMs);
    expect(arrivals(planOf({ ...options, seed: 8 }))).not.toEqual(arrivals(planOf(options)));
  });

  test('do not move when buyers are more patient', () => {
    expect(planOf({ ...options, patience: 9 }).visits).toEqual(planOf(options).visits);
  });

  test('are in order: a few before the opening, half of all within the first tenth of the time, and a tail to its end', () => {
    const times = planOf({ ...options, repeat: 0 }).visits.map(({ atMs }) => atMs);
    expect(times).toHaveLength(options.buyers);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times[0]).toBeGreaterThanOrEqual(-400);
    expect(shareOf(times, (time) => time < 0)).toBeCloseTo(0.02, 1.5);
    expect(shareOf(times, (time) => time < 1_000)).toBeGreaterThan(0.45);
    expect(shareOf(times, (time) => time < 1_000)).toBeLessThan(0.65);
    expect(times.at(-1)).toBeGreaterThan(9_000);
    expect(times.at(-1)).toBeLessThanOrEqual(10_000);
  });

  test('come from different buyers, some of them twice, and some without patience', () => {
    const { buyers, visits } = planOf(options);
    expect(new Set(buyers.map(({ userId }) => userId)).size).toBe(options.buyers);
    expect(visits.length / options.buyers).toBeCloseTo(1.05, 1.5);
    expect(new Set(buyers.map(({ patience }) => patience))).toEqual(new Set([0, 1, 2, 3]));
    expect(shareOf(buyers, ({ patience }) => patience === 0)).toBeCloseTo(0.3, 1.5);
    expect(planOf({ ...options, repeat: 100 }).visits).toHaveLength(2 * options.buyers);
  });
});

test('the agenda hands out every item once, in order of time, when it is due', async () => {
  const random = mulberry32(3);
  const now = performance.now();
  const times = Array.from({ length: 2_000 }, () => now + random() * 100);
  const seen: number[] = [];
  const agenda = new Agenda<number>((item, at) => {
    expect(item).toBe(at);
    expect(performance.now()).toBeGreaterThanOrEqual(at);
    seen.push(item);
  });
  for (const at of times) agenda.add(at, at);
  await eventually(() => seen.length === times.length, { what: 'every item' });
  expect(seen).toEqual(times.toSorted((a, b) => a - b));

  const dropped = performance.now() + 5;
  agenda.add(dropped, dropped);
  agenda.clear();
  const later = dropped + 5;
  agenda.add(later, later);
  await eventually(() => seen.includes(later), { what: 'the later item' });
  expect(seen).not.toContain(dropped);
});

describe('a buyer', () => {
  const patient = { userId: 'a', patience: 2 };
  const fresh = { returned: 0, failures: 0 };
  const full: PurchaseResponse = { outcome: 'queue-full', retryAfterMs: 3_000 };
  const at = (nowMs: number, { arrivedMs = nowMs, history = fresh } = {}) => ({ arrivedMs, nowMs, history });

  test('comes again after Retry-After while patience lasts', () => {
    expect(nextVisit(full, patient, at(1_000), 0.5)).toEqual({
      atMs: 4_250,
      history: { returned: 1, failures: 0 },
    });
    expect(nextVisit(full, patient, at(1_000, { history: { returned: 2, failures: 0 } }), 0.5)).toBeUndefined();
    expect(nextVisit(full, { ...patient, patience: 0 }, at(1_000), 0.5)).toBeUndefined();
    expect(nextVisit({ ...full, retryAfterMs: 31_000 }, patient, at(1_000), 0.5)).toBeUndefined();
  });

  test('that came early comes again at the opening, however late the response is', () => {
    const early: PurchaseResponse = { outcome: 'not-open', retryAfterMs: undefined };
    expect(nextVisit(early, { ...patient, patience: 0 }, at(-100), 0.1)?.atMs).toBe(50);
    expect(nextVisit(early, { ...patient, patience: 0 }, at(200, { arrivedMs: -5 }), 0.1)?.atMs).toBe(250);
    expect(nextVisit(early, { ...patient, patience: 0 }, at(200), 0.1)).toBeUndefined();
  });

  test('retries a few times without a decision', () => {
    const lost: PurchaseResponse = { outcome: 'error', lost: true, message: 'reset' };
    expect(nextVisit(lost, patient, at(0), 0)?.history).toEqual({ returned: 0, failures: 1 });
    expect(nextVisit({ outcome: 'overloaded', retryAfterMs: 1_000 }, patient, at(0), 0)?.atMs).toBe(1_000);
    expect(nextVisit(lost, patient, at(0, { history: { returned: 0, failures: 10 } }), 0)).toBeUndefined();
  });

  test.each<PurchaseResponse>([
    { outcome: 'admitted', ticketId: 't', position: 1 },
    { outcome: 'already-admitted', ticketId: 't', position: 0 },
    { outcome: 'sold-out', retryAfterMs: undefined },
    { outcome: 'error', lost: false, message: '422' },
  ])('leaves after a decision: $outcome', (response) => {
    expect(nextVisit(response, patient, at(0), 0)).toBeUndefined();
  });
});

const held = { ticketId: '019a2b3c-4d5e-7f60-8123-456789abcdef', position: 3 };
const purchased = JSON.stringify({ ...held, statusUrl: '/flash-sales/1/purchases/2' });
/** The ticket has left the queue. */
const left = JSON.stringify({ ...held, position: 0, statusUrl: '/flash-sales/1/purchases/2' });

test.each<[number, string | undefined, string, unknown]>([
  [202, undefined, purchased, { outcome: 'admitted', ...held }],
  [200, undefined, left, { outcome: 'already-admitted', ...held, position: 0 }],
  [202, undefined, '<html>', { outcome: 'error', lost: false }],
  [202, undefined, '{"ticketId":"t","position":3}', { outcome: 'error', lost: false }],
  [429, '2', '{"type":"/problems/queue-full"}', { outcome: 'queue-full', retryAfterMs: 2_000 }],
  [429, '2', 'slow down', { outcome: 'error', lost: false }],
  [409, undefined, '{"type":"/problems/sold-out"}', { outcome: 'sold-out' }],
  [409, undefined, '{"type":"/problems/not-open"}', { outcome: 'not-open' }],
  [503, '1', '{"type":"/problems/unavailable"}', { outcome: 'overloaded', retryAfterMs: 1_000 }],
  [500, undefined, '{}', { outcome: 'error', lost: true }],
])('reads a response: %i, Retry-After %s, %s', (status, retryAfter, body, response) => {
  expect(readResponse(status, retryAfter, body)).toMatchObject(response as object);
});
