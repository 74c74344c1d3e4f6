// GET /metrics of the embedded system: documented, by Prometheus' conventions, from both threads and from both the
// listeners in front of Express and the routes. The alerting rules.
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasPromtool, promtool } from '../servers/promtool.ts';
import { call, completed, freshUser, placeOrder, postJson, readMetrics } from '../setup/api.ts';
import { documentedMetrics } from '../setup/metrics-docs.ts';
import { type Series, seriesIn, valueIn } from '../setup/series.ts';
import { eventually } from '../setup/wait.ts';
import { buy, createSale, readTicket, ticketOf } from './support/flash-sales.ts';
import { embedded, type System } from './support/systems.ts';

const available = await hasPromtool();
const file = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

let system: System;
let url: string;
let text: string;
let series: Series[];

const REQUESTS = 'sluice_http_request_duration_seconds_count';
const requests = (method: string, route: string, status: number) =>
  valueIn(series, REQUESTS, { method, route, status: String(status) });

/** Some of everything: orders, a sale, an unknown path, a wrong method. */
beforeAll(async () => {
  system = await embedded.start();
  url = system.url('order');
  const { id } = await placeOrder(url, freshUser());
  await completed(url, id);
  await call(`${url}/orders/${id}?x`);
  await call(`${url}/orders/${id}`, { method: 'DELETE' });
  await fetch(`${url}/orders/${id}`, { method: 'HEAD' }); // the contracts do not name HEAD
  await postJson(`${url}/orders`, {});
  for (let path = 0; path < 3; path++) await call(`${url}/${randomUUID()}`);
  const sale = await createSale(url, { stock: 3, queueCap: 2, drainPerSecond: 1, holdSeconds: 600 });
  const { ticketId } = ticketOf(await buy(url, sale.id, freshUser()));
  await readTicket(url, sale.id, ticketId);
  for (let closed = 0; closed < 2; closed++)
    await postJson(`${url}/flash-sales/${sale.id}/purchases`, { userId: freshUser(), unknown: 1 });
  await eventually(
    async () => {
      text = await readMetrics(url);
      series = seriesIn(text);
      return valueIn(series, 'sluice_flash_sale_units', { sale: sale.id, state: 'held' }) === 1;
    },
    { what: 'the sale is reported' },
  );
  for (const [name, value] of [
    ['sluice_flash_sale_queue_cap', 2],
    ['sluice_flash_sales_open', undefined],
  ] as const)
    expect(valueIn(series, name, { sale: sale.id })).toBe(value);
  expect(valueIn(series, 'sluice_flash_sales_open')).toBe(1);
});
afterAll(() => system?.remove());

test('every metric is documented with its type, its unit and its labels', () => {
  const types = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = '', type = '']) => [name, type]);
  expect(Object.fromEntries(types)).toEqual(
    Object.fromEntries(documentedMetrics.map(({ name, type }) => [name, type])),
  );
  for (const { name, labels } of series) {
    const metric = documentedMetrics.find(
      (each) => each.name === (each.type === 'histogram' ? name.replace(/_(bucket|sum|count)$/, '') : name),
    );
    const known = [...(metric?.labels ?? []), ...(name.endsWith('_bucket') ? ['le'] : [])];
    expect([name, Object.keys(labels).sort()]).toEqual([name, known.sort()]);
  }
});

test('requests are counted by route, whether Express or a listener in front of it responds', () => {
  expect(requests('POST', '/orders', 201)).toBe(1); // in front
  expect(requests('POST', '/orders', 422)).toBe(1);
  expect(requests('GET', '/orders/:id', 200)).toBeGreaterThanOrEqual(1);
  expect(requests('HEAD', '/orders/:id', 200)).toBe(1);
  expect(requests('other', '/orders/:id', 405)).toBe(1);
  expect(requests('POST', '/flash-sales', 201)).toBe(1);
  expect(requests('POST', '/flash-sales/:id/purchases', 202)).toBe(1);
  expect(requests('POST', '/flash-sales/:id/purchases', 422)).toBe(2);
  expect(requests('GET', '/flash-sales/:id/purchases/:ticketId', 200)).toBe(1); // in front
  expect(requests('GET', 'unknown', 404)).toBe(3);
  const routes = new Set(series.filter(({ name }) => name === REQUESTS).map(({ labels }) => labels.route));
  expect([...routes].filter((route) => /[0-9a-f]{8}-/.test(String(route)))).toEqual([]);
});

test('the worker thread reports the stored values once', () => {
  for (const service of ['order', 'points', 'coupon', 'notify', 'flash-sale']) {
    expect(valueIn(series, 'sluice_workers', { service })).toBe(1);
    expect(valueIn(series, 'sluice_worker_heartbeat_age_seconds', { service })).toBe(0);
    for (const status of ['dead', 'retrying'])
      expect(valueIn(series, 'sluice_failed_messages', { service, status })).toBe(0);
  }
  expect(valueIn(series, 'sluice_orders_overdue', { status: 'placed' })).toBe(0);
  expect(valueIn(series, 'sluice_payments_in_doubt')).toBe(0);
  expect(valueIn(series, 'sluice_worker_event_loop_lag_p99_seconds')).toBeGreaterThanOrEqual(0);
});

describe.skipIf(!available)('by promtool', () => {
  test("the metrics follow Prometheus' conventions", async () => {
    expect(await promtool(['check', 'metrics'], text)).toEqual({ code: 0, output: '' });
  });

  test('the alerting rules are valid, fire for their faults, and do not fire in a healthy system', async () => {
    const checked = await promtool(['check', 'rules', file('infra/deploy/prometheus-rules.yaml')]);
    expect(checked).toEqual({ code: 0, output: expect.stringMatching(/SUCCESS: 16 rules found/) });
    const tested = await promtool(['test', 'rules', file('test/fixtures/prometheus-rules-test.yaml')]);
    expect(tested).toEqual({ code: 0, output: expect.stringMatching(/SUCCESS/) });
  });
});
