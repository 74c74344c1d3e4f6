// The drain on a fake database and fake queues that fail or do not respond.
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { type Database, DatabaseUnavailable } from '../../infra/database/port.ts';
import type { PacedQueue } from '../../infra/queue/port.ts';
import { Drain } from '../../services/flash-sale/drain.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { eventually } from '../setup/wait.ts';

/** A drain that gets the sales to drain from `list`. */
function startDrain(list: () => object[], queue: Partial<PacedQueue> = {}) {
  const seen = { rebuilds: 0, lists: 0 };
  const database = {
    kind: 'postgres',
    logPosition: async () => undefined,
    query: async (text: string) => {
      if (!text.includes('admitted - queued AS processed')) return []; // no ticket needs a job
      seen.lists++;
      return list();
    },
    execute: async () => 0,
  } as unknown as Database;
  const drain = new Drain({
    database,
    queues: {
      kind: 'redis',
      shared: true,
      remove: async () => {},
      open: async () => ({
        add: async () => {},
        clear: async () => {},
        close: async () => {},
        isRejected: false,
        ...queue,
      }),
      health: () => ({ status: 'up' }),
      canWork: () => true,
      close: async () => {},
    },
    acceptance: { accept: async () => {}, onFailed: async () => {} },
    stalledAfterMs: 300,
    onRebuild: () => seen.rebuilds++,
    log: pino({ level: 'silent' }),
  });
  drain.start();
  cleanUps.push(() => drain.stop());
  return seen;
}

describe('the drain', () => {
  const sale = (id: string) => ({ id, drainPerSecond: 100, queued: 5, processed: 0 });

  // Including the time of the failures, the queue would have stalled.
  test.each([
    { error: new TypeError('not a function'), rebuilds: 1 },
    { error: new DatabaseUnavailable(new Error('gone')), rebuilds: 0 },
  ])('does not count the time without a database as a stall, but the time after other errors: $error', async (each) => {
    const seen = startDrain(() => {
      if (seen.lists > 1 && seen.lists < 5) throw each.error;
      return seen.lists < 6 ? [sale('a')] : [];
    });
    await eventually(() => seen.lists >= 6, { what: 'it lists again' });
    expect(seen.rebuilds).toBe(each.rebuilds);
  });

  test('waits for queues that do not close for two seconds in total, not for each', async () => {
    const sales = Array.from({ length: 10 }, (_, index) => sale(`sale-${index}`));
    const seen = startDrain(() => (seen.lists === 1 ? sales : []), { close: () => new Promise(() => {}) });
    await eventually(() => seen.lists > 2, { what: 'it goes on', timeoutMs: 6_000 });
  });
});
