import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Loop } from '../../infra/runtime/loop.ts';
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
  expect(lines.map(({ msg, failures }) => failures ?? msg)).toEqual([1, 2, 4, 'succeeds again']);
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
