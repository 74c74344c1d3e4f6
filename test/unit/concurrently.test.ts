import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { concurrently } from '../../demos/shared/concurrently.ts';

const never = new AbortController().signal;

test('works on every item once, in order, and never on more than the limit', async () => {
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

test('aborts the others after the first error, and rejects with it once they have ended', async () => {
  let ended = 0;
  const work = concurrently([0, 1, 2, 3], 3, never, async (item, signal) => {
    if (item === 0) throw new Error('first');
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    ended++;
  });
  await expect(work).rejects.toThrow('first');
  expect(ended).toBe(2); // the fourth was not started
});

test('rejects when its signal aborts, even if no work notices', async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  const work = concurrently([0, 1, 2], 1, controller.signal, async (item) => {
    seen.push(item);
    controller.abort();
  });
  await expect(work).rejects.toThrow('aborted');
  expect(seen).toEqual([0]);
});
