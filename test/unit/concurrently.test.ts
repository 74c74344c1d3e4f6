import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { concurrently } from '../../demos/shared/concurrently.ts';

const never = new AbortController().signal;

test('works on every item once, in order, never on more than the limit', async () => {
  const started: number[] = [];
  let running = 0;
  let most = 0;
  await concurrently(Array.from({ length: 100 }).keys(), 7, never, async (item) => {
    started.push(item);
    most = Math.max(most, ++running);
    await turn();
    running--;
  });
  expect(started).toEqual([...Array(100).keys()]);
  expect(most).toBe(7);
});

test('rejects with the first error once the others, told by their signal, have ended', async () => {
  let ended = 0;
  const work = concurrently([0, 1, 2, 3], 3, never, async (item, signal) => {
    if (item === 0) throw new Error('first');
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    ended++;
  });
  await expect(work).rejects.toThrow('first');
  expect(ended).toBe(2); // and the fourth was not started
});

test('rejects when its signal aborts, also where no work notices', async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  const work = concurrently([0, 1, 2], 1, controller.signal, async (item) => {
    seen.push(item);
    controller.abort();
  });
  await expect(work).rejects.toThrow('aborted');
  expect(seen).toEqual([0]);
});
