import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Silence } from '../../infra/runtime/silence.ts';

const SILENCE_MS = 1_000;
let silence: Silence;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  silence = new Silence(SILENCE_MS);
});
afterEach(() => {
  vi.useRealTimers();
});

/** Looks every quarter of the silence, so many silences long; answers how often there is something to rebuild. */
function rebuildsIn(silences: number, backlog: number | undefined, mark: () => number): number {
  let rebuilds = 0;
  for (let look = 0; look < silences * 4; look++) {
    if (silence.look(backlog, mark())) rebuilds++;
    vi.advanceTimersByTime(SILENCE_MS / 4);
  }
  return rebuilds;
}

const still = () => 7;
const moving = () => performance.now();

test('a backlog without progress is to be rebuilt once in a silence, and after three in vain it is not healthy', () => {
  expect(rebuildsIn(3.5, 5, still)).toBe(3);
  expect(silence.healthy).toBe(true);
  expect(rebuildsIn(1, 5, still)).toBe(1);
  expect(silence.healthy).toBe(false);
});

test('who makes progress, or has nothing to do, is left alone', () => {
  expect(rebuildsIn(10, 5, moving)).toBe(0);
  expect(rebuildsIn(10, 0, still)).toBe(0);
});

test('progress, and the end of the backlog, make it healthy again', () => {
  for (const ending of [() => silence.look(5, 8), () => silence.look(0, 7)]) {
    rebuildsIn(5, 5, still);
    expect(silence.healthy).toBe(false);
    ending();
    expect([silence.healthy, silence.rebuilds]).toEqual([true, 0]);
  }
});

test('while the backlog is not known nobody is blamed, and nobody is acquitted', () => {
  rebuildsIn(5, 5, still);
  expect(rebuildsIn(10, undefined, still)).toBe(0);
  expect(silence.healthy).toBe(false);
  // The time until then does not count.
  expect(rebuildsIn(1, 5, still)).toBe(0);
  expect(rebuildsIn(1, 5, still)).toBe(1);
});

test('the time for which it is excused does not count', () => {
  rebuildsIn(0.75, 5, still);
  silence.excuse();
  expect(rebuildsIn(1, 5, still)).toBe(0);
});
