import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
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
  await eventually(() => turns === 6, { what: 'the first turn that succeeds', timeoutMs: 20_000 });
  expect(lines.map(({ msg, failures }) => failures ?? msg)).toEqual([1, 2, 4, 'works again']);
});
