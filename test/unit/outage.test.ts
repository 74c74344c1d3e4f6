import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { OrderFact } from '../../contracts/facts.ts';
import type { OrderResponse } from '../../demos/outage/flow.ts';
import { secondLine, svgOf } from '../../demos/outage/report.ts';
import { type Scenario, secondOf } from '../../demos/outage/scenario.ts';
import { findingsOf, summarize } from '../../demos/outage/summary.ts';
import { startSystem } from '../../demos/outage/system.ts';
import type { Sample } from '../../demos/outage/watch.ts';
import { recordedSteps } from '../../demos/shared/metrics.ts';

const response = (dueMs: number, atMs: number, status = 201): OrderResponse => ({ dueMs, atMs, status });
const sample = (atMs: number, points: number, completed: number): Sample => ({
  atMs,
  waiting: { points, coupon: 1, notify: 0 },
  completed,
});

describe('the steps that the order service has recorded', () => {
  const line = (service: string, type: string, outcome: string, count: number) =>
    `sluice_messages_handled_total{service="${service}",type="${type}",outcome="${outcome}"} ${count}`;

  test('are counted by step, each reply once, among other metrics', () => {
    const metrics = [
      '# HELP sluice_messages_handled_total Messages whose outcome is recorded, by service, type and outcome.',
      '# TYPE sluice_messages_handled_total counter',
      line('points', 'order.placed', 'done', 50),
      line('order', 'points.awarded', 'done', 40),
      line('order', 'points.awarded', 'duplicate', 7),
      line('order', 'points.awarded', 'retrying', 3),
      line('order', 'coupon.issued', 'done', 30),
      line('order', 'coupon.skipped', 'done', 12),
      'sluice_messages_handled_total{outcome="done",type="notification.sent",service="order"} 1.5e+3',
      'sluice_events_published_total{service="order",type="points.awarded"} 99',
    ].join('\n');
    expect(recordedSteps(metrics)).toEqual({ points: 40, coupon: 42, notify: 1_500 });
  });

  test('are 0 before the first reply', () => {
    expect(recordedSteps('')).toEqual({ points: 0, coupon: 0, notify: 0 });
  });
});

describe('a second', () => {
  const responses = [
    response(900, 999),
    response(950, 1_000),
    response(1_000, 1_100),
    response(1_200, 1_900, 503),
    response(1_300, 1_950, 0),
    response(1_990, 2_000),
  ];
  const samples = [sample(800, 3, 4), sample(1_200, 5, 6), sample(1_999, 8, 9), sample(2_100, 20, 30)];

  test('has its responses, and latencies from the times at which the orders were due', () => {
    expect(secondOf(2, responses, samples)).toEqual({
      second: 2,
      responses: { 201: 2, 503: 1, none: 1 },
      p95Ms: 100,
      completed: 9 - 4,
      waiting: { points: 8, coupon: 1, notify: 0 },
    });
  });

  test('without responses has no latency, and the backlog of the last sample', () => {
    expect(secondOf(4, responses, samples)).toEqual({
      second: 4,
      responses: {},
      p95Ms: null,
      completed: 0,
      waiting: { points: 20, coupon: 1, notify: 0 },
    });
  });

  test('is a line with a bar of the backlog, scaled to the longest expected one', () => {
    const settings = { service: 'points', rate: 10, beforeSeconds: 1, awaySeconds: 4, timeoutSeconds: 1 } as const;
    const plain = new PassThrough() as unknown as NodeJS.WriteStream; // not a terminal: no colours
    const second = { second: 7, responses: { 201: 9, none: 1 }, p95Ms: 3.4, completed: 0 };
    const waiting = { points: 20, coupon: 0, notify: 1_234 };
    expect(secondLine({ ...second, waiting }, settings, plain)).toMatch(
      /^ +7 +9 × 201, 1 × no response +3\.4 ms +0 +20 +0 +1,234 {3}█{15}$/,
    );
    // More than expected does not break the line.
    expect(secondLine({ ...second, waiting: { ...waiting, points: 4_000 } }, settings, plain)).toMatch(/ {3}█{30}$/);
  });
});

/** The service went at 1 s and was back at 3 s, ready at 3.5 s; 4 s in all. */
const scenario: Scenario = {
  settings: { service: 'points', rate: 2, beforeSeconds: 1, awaySeconds: 2, timeoutSeconds: 30 },
  responses: [-500, 0, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 3_500].map((dueMs) => response(dueMs, dueMs + 10)),
  accepted: [],
  samples: [sample(500, 90, 0), sample(1_500, 4, 1), sample(3_400, 6, 2), sample(3_900, 0, 9)],
  seconds: [1, 2, 3, 4].map((second) => ({
    second,
    responses: { 201: 2 },
    p95Ms: 10,
    completed: 1,
    waiting: { points: second, coupon: 0, notify: 0 },
  })),
  stopMs: 1_000,
  goneMs: 1_100,
  backMs: 3_000,
  readyMs: 3_500,
  caughtUpMs: 3_900,
  completedMs: 4_100,
};
const system = { shape: 'embedded' };
const clean = { findings: [] } as unknown as Parameters<typeof summarize>[2];

describe('the summary', () => {
  test('counts the responses before, during and after, by the times at which the orders were due', () => {
    const summary = summarize(scenario, system, clean);
    expect(summary.phases.map(({ name, orders, accepted }) => [name, orders, accepted])).toEqual([
      ['before', 2, 2], // the order before the first second only warms up
      ['during', 5, 5],
      ['after', 1, 1],
    ]);
    expect(summary).toMatchObject({
      longestBacklog: 6, // of the outage, not of what was before
      readyAfterMs: 500,
      caughtUpAfterMs: 900,
      completed: true,
      prefix: null,
      failures: [],
    });
  });

  test('fails for an order without a 2xx, in any phase', () => {
    const responses = [
      ...scenario.responses,
      response(-100, 0, 503),
      response(1_200, 1_300, 503),
      response(1_200, 9_000, 0),
    ];
    const { failures, phases } = summarize({ ...scenario, responses }, system, clean);
    expect(failures).toEqual(['3 orders did not get a 2xx: 2 × 503, 1 × no response']);
    expect(phases[1]).toMatchObject({ orders: 7, accepted: 5, others: { 503: 1, none: 1 } });
  });

  test('fails if the backlog stays, if orders are not completed, and for findings of the audit', () => {
    const late = { ...scenario, caughtUpMs: undefined, completedMs: undefined };
    const findings = ['something is missing: 1: x'];
    expect(summarize(late, system, { ...clean, findings }).failures).toEqual([
      'points has not caught up 30 s after it was back',
      'not every order is completed 30 s after the last one was placed',
      'something is missing: 1: x',
    ]);
  });

  test('is drawn as a picture with its numbers', () => {
    const picture = svgOf(summarize(scenario, system, clean));
    expect(picture).toMatch(/^<svg [\s\S]*prefers-color-scheme: dark[\s\S]*<\/svg>\n$/);
    expect(picture).toContain('>2 orders per second, points away for 2.40 s</text>');
    expect(picture).toContain('8 of 8 orders got a 2xx.');
    expect(picture).toContain('At most 6 orders waited for points.');
    expect(picture).not.toMatch(/NaN|undefined|Infinity/);
  });
});

test.each([
  [{ DATABASE_URL: 'postgres://h/d' }, {}, /both DATABASE_URL and MQTT_URL/],
  [{ AMQP_URL: 'amqp://h' }, {}, /both DATABASE_URL and MQTT_URL/],
  [{ EVENT_BUS: 'mqtt' }, {}, /both DATABASE_URL and MQTT_URL/],
  [{}, { kill: true }, /--kill needs services in processes of their own/],
  [{ DATABASE_URL: 'postgres://h/d', MQTT_URL: 'mqtt://h' }, { data: 'here' }, /--data is for the embedded system/],
])('contradicting options are rejected before anything is started: %j %j', async (env, options, message) => {
  const { signal } = new AbortController();
  await expect(startSystem({ env, kill: false, data: undefined, signal, ...options })).rejects.toMatchObject({
    exitCode: 2,
    message: expect.stringMatching(message),
  });
});

test('an accepted order that is missing or not completed is found', () => {
  const fact = (id: string, points: 'done' | 'pending'): [string, OrderFact] => [
    id,
    { id, steps: { points, coupon: 'skipped', notification: 'done' } } as OrderFact,
  ];
  const facts = new Map([fact('a', 'done'), fact('b', 'pending')]);
  expect(findingsOf(facts, ['a'])).toEqual([]);
  expect(findingsOf(facts, ['a', 'b', 'c'])).toEqual([
    'accepted orders are missing: 1: c',
    'accepted orders are not completed: 1: b',
  ]);
});
