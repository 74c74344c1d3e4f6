// The whole system embedded in one process, killed under load.
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../setup/wait.ts';
import { checkInvariants } from './support/checker.ts';
import { judge } from './support/conclude.ts';
import { isDone } from './support/done.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { createEmbedded, type Embedded } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;

/** Waits until all work is done, and checks what is stored. */
async function concludeEmbedded({ process, dataDir }: Embedded, load: Load) {
  const over = performance.now();
  await load.stop();
  const timeoutMs = Math.max(1_000, over + DONE_WITHIN_MS - performance.now());
  const orderIds = [...load.log.values()].flatMap(
    ({ answers }) => answers.find(({ orderId }) => orderId)?.orderId ?? [],
  );
  const done = eventually(() => isDone(process.url, orderIds, new Map()), { what: 'all work is done', timeoutMs });
  const recoveryMs = await done.then(
    () => performance.now() - over,
    () => null, // the checker names what is left
  );
  expect(await process.stop()).toEqual({ code: 0, signal: null });
  const verdict = await checkInvariants({ dataDir }, { log: load.log });
  return { verdict, recoveryMs };
}

test.each([
  { bus: 'local', kills: Math.max(2, rounds) },
  { bus: 'mqtt', kills: Math.max(2, rounds) },
])('loses no order on the $bus bus when it is killed (kill -9) under load', async ({ bus, kills }) => {
  const schedule = newSchedule();
  const embedded = await createEmbedded({ EVENT_BUS: bus });
  const { process } = embedded;
  await process.start();
  const load = new Load({ urls: [process.url], schedule });
  for (let kill = 0; kill < kills; kill++) {
    await schedule.runFor(500, 2_500);
    await process.kill();
    await process.start();
  }
  const { verdict, recoveryMs } = await concludeEmbedded(embedded, load);
  judge({ fault: `kill -9 of the embedded process, ${bus} bus`, rounds: kills, verdict, recoveryMs });
  expect(verdict.failed).toEqual([]);
});

test('exits when its worker thread ends, and the next start resumes its work', async () => {
  const schedule = newSchedule();
  const ending = new URL('support/ending-thread.js', import.meta.url).href;
  const embedded = await createEmbedded({}, ['--import', ending]);
  const { process, dataDir } = embedded;
  const endFile = join(dataDir, 'end-thread');
  const start = () => process.start({ THREAD_ENDS_WITH_FILE: endFile });
  await start();
  const load = new Load({ urls: [process.url], schedule });
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(schedule.between(100, 300));
    await writeFile(endFile, '');
    expect(await process.ended(30_000)).toEqual({ code: 1, signal: null });
    await rm(endFile);
    await start();
  }
  expect(await process.output()).toContain('"msg":"the worker thread has ended: start again to resume its work"');
  const { verdict, recoveryMs } = await concludeEmbedded(embedded, load);
  judge({ fault: 'the worker thread of the embedded system ends', rounds, verdict, recoveryMs });
  expect(verdict.failed).toEqual([]);
});

test('starts after its first start was killed', async () => {
  const schedule = newSchedule();
  const { process } = await createEmbedded({});
  for (let kill = 0; kill < rounds; kill++) {
    await process.launch();
    await schedule.runFor(300, 4_000);
    await process.kill();
  }
  await process.start();
});
