import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { FailureStreak, failingWork, sentenceOf } from '../../infra/runtime/failure-streak.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { publicReasonOf } from '../../infra/runtime/reason.ts';
import { eventually } from '../setup/wait.ts';

test('a failing loop logs fewer and fewer of its failures, and its recovery', async () => {
  const lines: { msg: string; failures?: number }[] = [];
  let turns = 0;
  const loop = new Loop({
    name: 'test',
    everyMs: 60_000,
    turn: async () => {
      turns++;
      if (turns <= 5) throw new Error('a failure');
      return false;
    },
    log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
  });
  onTestFinished(() => loop.stop());
  loop.start();
  await eventually(() => turns === 6, { what: 'the turn that succeeds', timeoutMs: 20_000 });
  expect(lines.map(({ msg, failures }) => failures ?? msg)).toEqual([1, 2, 4, 5, 5]);
  expect(lines.at(-1)?.msg).toBe('succeeds again');
});

test('a failure is recent until it is too old or the work succeeds', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const streak = new FailureStreak({ name: 'test', log: pino({ level: 'silent' }) });
  expect(streak.failedWithin(100)).toBe(false);
  for (const _failure of [1, 2]) {
    streak.failed(new Error('a failure'));
    vi.advanceTimersByTime(99);
    expect(streak.failedWithin(100)).toBe(true);
  }
  vi.advanceTimersByTime(1);
  expect([streak.failedWithin(100), streak.failures]).toEqual([false, 2]);
  streak.failed(new Error('a failure'));
  streak.succeeded();
  expect(streak.failedWithin(100)).toBe(false);
});

test('the pauses of loops on the same grid end together', async () => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
  try {
    const turns: [name: string, atMs: number][] = [];
    const loopOf = (name: string, everyMs: number) =>
      new Loop({
        name,
        everyMs,
        gridMs: 250,
        turn: async () => turns.push([name, performance.now()]),
        log: pino({ level: 'silent' }),
      });
    await vi.advanceTimersByTimeAsync(60);
    const often = loopOf('often', 250);
    often.start();
    await vi.advanceTimersByTimeAsync(50);
    const rarely = loopOf('rarely', 600);
    const tooOften = loopOf('too often for the grid', 200);
    rarely.start();
    tooOften.start();
    await vi.advanceTimersByTimeAsync(890);
    await Promise.all([often.stop(), rarely.stop(), tooOften.stop()]);
    const of = (name: string) => turns.filter(([each]) => each === name).map(([, atMs]) => Math.round(atMs));
    expect(of('often')).toEqual([60, 250, 500, 750, 1_000]);
    expect(of('rarely')).toEqual([110, 500, 1_000]);
    expect(of('too often for the grid')).toEqual([110, 310, 510, 710, 910]);
  } finally {
    vi.useRealTimers();
  }
});

test('a loop is degraded from its fifth failure in a row until a turn succeeds', async () => {
  const loop = failingLoop();
  for (const failures of [1, 2, 3, 4]) {
    await loop.turn(failures);
    expect(failingWork('points')).toEqual([]);
  }
  await loop.turn(5);
  await loop.turn(6);
  const [state] = failingWork('points');
  expect(state).toEqual({
    service: 'points',
    name: 'sweep',
    failures: 6,
    forMs: expect.any(Number),
    error: 'failure 6',
  });
  expect(state && sentenceOf(state)).toMatch(/^sweep has failed 6 times in a row, for \d+ s: failure 6$/);
  expect(failingWork('coupon')).toEqual([]);
  await loop.succeed();
  expect(failingWork()).toEqual([]);
});

test('a loop that has stopped is no longer degraded', async () => {
  const loop = failingLoop();
  for (const failures of [1, 2, 3, 4, 5]) await loop.turn(failures);
  expect(failingWork()).toHaveLength(1);
  await loop.stop();
  expect(failingWork()).toEqual([]);
});

/** A loop whose turns come without pauses and fail. */
function failingLoop() {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let turns = 0;
  let succeeds = false;
  const loop = new Loop({
    name: 'sweep',
    everyMs: 1,
    turn: async () => {
      turns++;
      if (!succeeds) throw new Error(`failure ${turns}`);
    },
    log: pino({ level: 'silent' }).child({ service: 'points' }),
  });
  const reach = async (done: () => boolean) => {
    while (!done()) await vi.advanceTimersByTimeAsync(10);
  };
  loop.start();
  onTestFinished(() => loop.stop());
  return {
    /** Resolves after the turn of that number. */
    turn: (count: number) => reach(() => turns === count),
    succeed: async () => {
      succeeds = true;
      await reach(() => failingWork().length === 0);
    },
    stop: () => loop.stop(),
  };
}

test.each([
  ['connect ECONNREFUSED 127.0.0.1:5432', 'connect ECONNREFUSED <address>'],
  ['getaddrinfo ENOTFOUND db.internal', 'getaddrinfo ENOTFOUND <address>'],
  ['MOVED 3999 10.0.0.5:6379', 'MOVED 3999 <address>'],
  ['connect ECONNREFUSED ::1:5432', 'connect ECONNREFUSED <address>'],
  ['no response from fe80::1%eth0', 'no response from <address>'],
  ['cannot reach amqp://me:secret@rabbit:5672/shop', 'cannot reach <url>'],
  ['redis.internal:6379 is away', '<address> is away'],
  ['function pause(unknown, unknown) does not exist', 'function pause(unknown, unknown) does not exist'],
  ["OOM command not allowed when used memory > 'maxmemory'", "OOM command not allowed when used memory > 'maxmemory'"],
  ['at 12:30:59 it failed:\n  twice', 'at 12:30:59 it failed: twice'],
])('a public reason contains no address: %s', (message, reason) => {
  expect(publicReasonOf(new Error(message))).toBe(reason);
});
