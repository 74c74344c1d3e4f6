import { Registry } from 'prom-client';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createGauge, StoredGauges, sampleOf } from '../../infra/observability/stored-gauges.ts';

/** A gauge of rows by channel. `read` takes `tookMs` and returns `rows`, or rejects if they are undefined. */
function fixture() {
  const registry = new Registry();
  const gauge = createGauge(registry, { name: 'rows', help: 'Rows.', labels: ['channel'] });
  const state = { now: 0, tookMs: 0, reads: 0, rows: { bus: 1 } as Record<string, number> | undefined };
  const read = async () => {
    state.reads++;
    state.now += state.tookMs;
    if (!state.rows) throw new Error('the database is away');
    return Object.entries(state.rows).map(([channel, rows]) => sampleOf(gauge, rows, { channel }));
  };
  const gauges = new StoredGauges(read, () => state.now);
  const shown = async () => {
    await gauges.refresh();
    return Object.fromEntries((await gauge.get()).values.map(({ labels, value }) => [labels.channel, value]));
  };
  return { state, gauges, shown };
}

test('a gauge has no value until one is set', async () => {
  const registry = new Registry();
  createGauge(registry, { name: 'rows', help: 'Rows.' });
  expect(await registry.metrics()).not.toMatch(/^rows/m);
});

test('reads once a second at most, for any number of clients', async () => {
  const { state, shown } = fixture();
  expect(await Promise.all([shown(), shown(), shown()])).toEqual(Array(3).fill({ bus: 1 }));
  state.rows = { user: 2 };
  state.now += 999;
  expect(await shown()).toEqual({ bus: 1 });
  expect(state.reads).toBe(1);
  state.now += 1;
  expect(await shown()).toEqual({ user: 2 });
  expect(state.reads).toBe(2);
});

test('values that take long to read are used for twenty times as long, and 10 s at most', async () => {
  const { state, shown } = fixture();
  for (const [tookMs, freshMs] of [
    [100, 2_000],
    [900, 10_000],
  ] as const) {
    state.tookMs = tookMs;
    await shown();
    const { reads } = state;
    state.now += freshMs - 1;
    await shown();
    expect(state.reads).toBe(reads);
    state.now += 1;
  }
});

test('values that cannot be read have no series, and are read again after a second', async () => {
  const { state, shown } = fixture();
  await shown();
  state.now += 1_000;
  state.rows = undefined;
  state.tookMs = 5_000;
  expect(await shown()).toEqual({});
  state.now += 999;
  expect(await shown()).toEqual({});
  expect(state.reads).toBe(2);
  state.now += 1;
  state.rows = { bus: 3 };
  expect(await shown()).toEqual({ bus: 3 });
});

test('a reading that takes too long leaves no series, is not repeated, and is shown once it ends', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const gauge = createGauge(new Registry(), { name: 'rows', help: 'Rows.' });
  let reads = 0;
  let finish = () => {};
  const gauges = new StoredGauges(() => {
    reads++;
    return new Promise((resolve) => {
      finish = () => resolve([sampleOf(gauge, 1)]);
    });
  });
  const values = async () => (await gauge.get()).values.map(({ value }) => value);
  for (let scrape = 0; scrape < 2; scrape++) {
    const refreshed = gauges.refresh();
    await vi.advanceTimersByTimeAsync(3_000);
    await refreshed;
    expect(await values()).toEqual([]);
  }
  expect(reads).toBe(1);
  finish();
  await vi.advanceTimersByTimeAsync(0);
  expect(await values()).toEqual([1]);
});
