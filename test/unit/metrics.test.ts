import { readFileSync } from 'node:fs';
import type { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { Metrics } from '../../infra/observability/metrics.ts';
import { createDecisionCounter, saleGauges } from '../../services/flash-sale/metrics.ts';
import { orderGauges } from '../../services/order/gauges.ts';
import { documentedAlerts, documentedMetrics } from '../setup/metrics-docs.ts';

/** The samples in the text of GET /metrics. */
const samplesIn = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

test.each([0, 1])('reports the process, and the services of this thread and of %i others', async (others) => {
  const metrics = Array.from({ length: 1 + others }, (_, index) => new Metrics({ process: index === 0 }));
  for (const each of metrics) {
    each.resent.inc({ type: 'order.placed' });
    each.handling.observe({ service: 'points' }, 0.01);
    each.requests.record({ method: 'GET', route: '/orders/:id', status: 200 }, 0.01);
    each.backlog.set({ service: 'points' }, 2);
    each.backlog.remove({ service: 'points' });
  }
  const [main, ...rest] = metrics as [Metrics, ...Metrics[]];
  const text = await main.text(await Promise.all(rest.map(({ registry }) => registry.getMetricsAsJSON())));

  const startedAt = Number(/^process_start_time_seconds (\d+)$/m.exec(text)?.[1]);
  expect(Math.abs(Date.now() / 1_000 - process.uptime() - startedAt)).toBeLessThan(2);
  expect(text.match(/^process_cpu_seconds_total /gm)).toHaveLength(1);
  const samples = samplesIn(text);
  const total = metrics.length;
  expect(samples).toContain(`sluice_resent_total{type="order.placed"} ${total}`);
  expect(samples).toContain(`sluice_message_handling_seconds_bucket{le="0.02",service="points"} ${total}`);
  const request = 'method="GET",route="/orders/:id",status="200"';
  expect(samples).toContain(`sluice_http_request_duration_seconds_count{${request}} ${total}`);
  for (const gauge of ['sluice_consumer_backlog', 'sluice_event_loop_lag_seconds'])
    expect(samples.filter((sample) => sample.startsWith(gauge))).toEqual([]);
});

test('counts requests by method, route and status, in cumulative buckets', async () => {
  const { requests, registry } = new Metrics();
  const record = (method: string | undefined, status: number | undefined, seconds: number) =>
    requests.record({ method, route: '/orders', status }, seconds);
  for (const seconds of [0.001, 0.0011, 0.5, 11]) record('POST', 201, seconds);
  record('POST', undefined, 1);
  for (const method of ['DELETE', 'PATCH', undefined]) record(method, 405, 0.01);

  const { values } = await requests.get();
  const sampleOf = (series: string, labels: object) =>
    values.find(({ metricName, labels: its }) => {
      const all = { route: '/orders', ...labels };
      return metricName?.endsWith(`_${series}`) && JSON.stringify(sorted(its)) === JSON.stringify(sorted(all));
    })?.value;
  const placed = { method: 'POST', status: '201' };
  expect([0.001, 0.005, 0.25, 0.5, 10, '+Inf'].map((le) => sampleOf('bucket', { ...placed, le }))).toEqual([
    1, 2, 2, 3, 3, 4,
  ]);
  expect(sampleOf('count', placed)).toBe(4);
  expect(sampleOf('sum', placed)).toBeCloseTo(11.5021);
  expect(sampleOf('count', { method: 'POST', status: 'aborted' })).toBe(1);
  expect(sampleOf('count', { method: 'other', status: '405' })).toBe(3);
  expect(await registry.getMetricsAsJSON()).toContainEqual(expect.objectContaining({ values }));
});

const sorted = (labels: object) => Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));

/** All metrics of a process with two threads and all services. */
function declared(): Registry[] {
  const main = new Metrics();
  const worker = new Metrics({ process: false });
  createDecisionCounter(main);
  orderGauges(main);
  saleGauges(main);
  return [...main.registries, worker.registry];
}

describe('docs/metrics.md', () => {
  test('lists every metric with its type and labels, and no other', () => {
    const metrics = declared().flatMap((registry) => registry.getMetricsAsArray());
    const inCode = metrics.map((metric) => {
      const labels: unknown = Reflect.get(metric, 'labelNames');
      return [
        metric.name,
        { type: metric.constructor.name.replace('RequestDurations', 'Histogram').toLowerCase(), labels },
      ];
    });
    const documented = documentedMetrics.map(({ name, type, labels }) => [name, { type, labels }]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(inCode));
    expect(documented.length).toBe(Object.keys(Object.fromEntries(documented)).length);
  });

  test("units follow Prometheus' conventions: seconds and bytes in the name, and counters end in _total", () => {
    for (const { name, type, unit } of documentedMetrics) {
      expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
      const named = /_(seconds|bytes)(?:_total)?$/.exec(name)?.[1];
      expect([name, named]).toEqual([name, unit === 'seconds' || unit === 'bytes' ? unit : undefined]);
      expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
    }
  });

  test('lists every alert', () => {
    const file = new URL('../../infra/deploy/prometheus-rules.yaml', import.meta.url);
    const { groups } = parse(readFileSync(file, 'utf8')) as { groups: { rules: { alert: string; expr: string }[] }[] };
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.map(({ alert }) => alert).sort()).toEqual([...documentedAlerts].sort());
    const names = documentedMetrics.map(({ name }) => name);
    for (const { expr } of rules)
      for (const [name] of expr.matchAll(/\b(?:sluice|nodejs)_\w+/g))
        expect(names).toContain(name.replace(/_(count|bucket|sum)$/, ''));
  });
});
