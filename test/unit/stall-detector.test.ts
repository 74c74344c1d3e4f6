import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { StallDetector } from '../../infra/runtime/stall-detector.ts';

const STALL_MS = 1_000;
let detector: StallDetector;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  detector = new StallDetector(STALL_MS);
});
afterEach(() => {
  vi.useRealTimers();
});

/** Checks four times per STALL_MS for `stalls` times STALL_MS. Returns how many checks asked for a rebuild. */
function rebuildsIn(stalls: number, backlog: number | undefined, mark: () => number): number {
  let rebuilds = 0;
  for (let check = 0; check < stalls * 4; check++) {
    if (detector.check(backlog, mark())) rebuilds++;
    vi.advanceTimersByTime(STALL_MS / 4);
  }
  return rebuilds;
}

const still = () => 7;
const moving = () => performance.now();

test('a consumer with a backlog and no progress is rebuilt once per STALL_MS, and is unhealthy after three in vain', () => {
  expect(rebuildsIn(3.5, 5, still)).toBe(3);
  expect(detector.healthy).toBe(true);
  expect(rebuildsIn(1, 5, still)).toBe(1);
  expect(detector.healthy).toBe(false);
});

test('a consumer that makes progress or has no backlog is not rebuilt', () => {
  expect(rebuildsIn(10, 5, moving)).toBe(0);
  expect(rebuildsIn(10, 0, still)).toBe(0);
});

test('progress or the end of the backlog makes it healthy again', () => {
  for (const ending of [() => detector.check(5, 8), () => detector.check(0, 7)]) {
    rebuildsIn(5, 5, still);
    expect(detector.healthy).toBe(false);
    ending();
    expect([detector.healthy, detector.rebuilds]).toEqual([true, 0]);
  }
});

test('while the backlog is unknown a consumer is not rebuilt, and an unhealthy one stays unhealthy', () => {
  rebuildsIn(5, 5, still);
  expect(rebuildsIn(10, undefined, still)).toBe(0);
  expect(detector.healthy).toBe(false);
  // The time until then does not count.
  expect(rebuildsIn(1, 5, still)).toBe(0);
  expect(rebuildsIn(1, 5, still)).toBe(1);
});

test('the time before a reset does not count', () => {
  rebuildsIn(0.75, 5, still);
  detector.reset();
  expect(rebuildsIn(1, 5, still)).toBe(0);
});
