// The limiter on a clock of the test, with BullMQ's rule for windows: `max` jobs in a window that opens with its first
// job and lasts `duration`.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mulberry32 } from '../../demos/flash-sale/arrivals.ts';
import { SlotLimiter, withCatchUp } from '../../infra/queue/slot-limiter.ts';

interface Process {
  readonly perSecond: number;
  readonly seed: number;
  /** The longest delay of a timer. */
  readonly lateMs?: number;
  /** Share of the claims and pauses after which the process stalls, and for how long at most. */
  readonly stalls?: number;
  readonly stallMs?: number;
  /** Further seconds, in which it does not stall. */
  readonly calmSeconds?: number;
}

const SECONDS = 60;

/** The times at which jobs start, in milliseconds, in a process that always has jobs waiting and often stalls. */
function startsOf({ perSecond, seed, lateMs = 2, stalls = 0, stallMs = 0, calmSeconds = 0 }: Process): number[] {
  const random = mulberry32(seed);
  const begin = 1_000_000 * random();
  let time = begin;
  const limiter = new SlotLimiter({ perSecond, isSole: true, now: () => time });
  const starts: number[] = [];
  let window = { until: 0, started: 0 };
  const pass = (ms: number) => {
    const stalled = time < begin + SECONDS * 1_000 && random() < stalls ? random() * stallMs : 0;
    time += ms + stalled;
  };
  while (time < begin + (SECONDS + calmSeconds) * 1_000) {
    if (limiter.blockedMs > 0) {
      pass(limiter.blockedMs + lateMs * random());
      continue;
    }
    const { max, duration } = limiter;
    if (time >= window.until) window = { until: time + duration, started: 0 };
    if (window.started < max) {
      window.started++;
      limiter.markStarted();
      starts.push(time);
      pass(0.1 * random());
    } else pass(window.until - time + lateMs * random());
  }
  return starts;
}

/** The most jobs in any interval of a second. */
function mostIn(starts: readonly number[]): number {
  let from = 0;
  return starts.reduce((most, start, index) => {
    while ((starts[from] ?? 0) <= start - 1_000) from++;
    return Math.max(most, index - from + 1);
  }, 0);
}

const anyRate = fc.integer({ min: 1, max: 500 });
const anySeed = fc.integer({ min: 1 });

describe('the rate of a sole process', () => {
  test('is never above 110 % in any second, however often and long the process stalls', () => {
    const any = { perSecond: anyRate, seed: anySeed, stalls: fc.double({ min: 0, max: 0.3, noNaN: true }) };
    fc.assert(
      fc.property(fc.record({ ...any, stallMs: fc.integer({ min: 0, max: 3_000 }) }), (stalling) => {
        expect(mostIn(startsOf(stalling))).toBeLessThanOrEqual(withCatchUp(stalling.perSecond));
      }),
      { numRuns: 100 },
    );
  });

  test('is kept over a minute although the process stalls for up to half a second at a time', () => {
    const any = { perSecond: fc.integer({ min: 10, max: 500 }), seed: anySeed };
    fc.assert(
      fc.property(fc.record(any), (each) => {
        // At the end, it has had the time to catch up on the last stalls.
        const calmSeconds = 20;
        const starts = startsOf({ ...each, stalls: 0.1 / each.perSecond, stallMs: 500, calmSeconds });
        const all = (SECONDS + calmSeconds) * each.perSecond;
        expect(starts.length / all).toBeGreaterThan(0.98);
        expect(starts.length / all).toBeLessThan(1.02);
      }),
      { numRuns: 20 },
    );
  });

  test('is caught up on evenly after a stall of a second', () => {
    let time = 0;
    const limiter = new SlotLimiter({ perSecond: 100, isSole: true, now: () => time });
    const inSlots: number[] = [];
    for (let slot = 0; slot < 400; slot++) {
      time = slot * 100;
      if (slot >= 20 && slot < 30) continue;
      const { max } = limiter;
      for (let job = 0; job < max; job++) limiter.markStarted();
      inSlots.push(max);
    }
    expect(Math.max(...inSlots)).toBe(11);
    expect(inSlots.reduce((sum, max) => sum + max)).toBe(4_000);
    limiter.markIdle();
    time += 10_000;
    expect(limiter.max).toBe(10);
  });

  test('at 100/s is 90 to 110 in each second, if windows open up to 50 ms late', () => {
    const starts = startsOf({ perSecond: 100, seed: 7, lateMs: 50 });
    const seconds = Array.from({ length: SECONDS - 2 }, () => 0);
    for (const start of starts) {
      const second = Math.floor((start - (starts[0] ?? 0)) / 1_000) - 1;
      if (second >= 0 && second < seconds.length) seconds[second] = (seconds[second] ?? 0) + 1;
    }
    expect(Math.min(...seconds)).toBeGreaterThanOrEqual(90);
    expect(Math.max(...seconds)).toBeLessThanOrEqual(110);
  });
});
