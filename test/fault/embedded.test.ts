// The whole system in one process, on nothing but its data folder, killed under load.
import { request } from 'undici';
import { expect, test } from 'vitest';
import { eventually } from '../setup/wait.ts';
import { checkInvariants } from './support/checker.ts';
import { judge } from './support/conclude.ts';
import { type ClientLog, Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { createEmbedded } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;

test.each([
  { bus: 'local', kills: Math.max(2, rounds) },
  { bus: 'mqtt', kills: Math.max(2, rounds) },
])('with the $bus bus it survives kill -9 under load', async ({ bus, kills }) => {
  const schedule = newSchedule();
  const { process, dataDir } = await createEmbedded({ EVENT_BUS: bus });
  await process.start();
  const load = new Load({ urls: [process.url], schedule });
  for (let kill = 0; kill < kills; kill++) {
    await schedule.runFor(500, 2_500);
    await process.kill();
    await process.start();
  }
  const over = performance.now();
  await load.stop();
  const timeoutMs = Math.max(1_000, over + DONE_WITHIN_MS - performance.now());
  const done = eventually(() => isDone(process.url, load.log), { what: 'everything is done', timeoutMs });
  const recoveryMs = await done.then(
    () => performance.now() - over,
    () => null, // the checker says what is left
  );
  expect(await process.stop()).toEqual({ code: 0, signal: null });
  const verdict = await checkInvariants({ dataDir }, load.log);
  judge({ fault: `kill -9 of the embedded process, ${bus} bus`, rounds: kills, verdict, recoveryMs });
  expect(verdict.failed).toEqual([]);
});

test('killed in its first start, it starts the next time', async () => {
  const schedule = newSchedule();
  const { process } = await createEmbedded({});
  for (let kill = 0; kill < rounds; kill++) {
    await process.launch();
    await schedule.runFor(300, 4_000);
    await process.kill();
  }
  await process.start();
});

/** As the process tells it, because nobody else can open its database. */
async function isDone(url: string, log: ClientLog): Promise<boolean> {
  const { body: metrics } = await request(`${url}/metrics`);
  const outboxes = (await metrics.text()).split('\n').filter((line) => line.startsWith('sluice_outbox_rows{'));
  if (outboxes.length === 0 || !outboxes.every((line) => line.endsWith(' 0'))) return false;
  for (const { answers } of log.values()) {
    const id = answers.find(({ orderId }) => orderId !== undefined)?.orderId;
    const { body } = await request(`${url}/orders/${id}`);
    if (((await body.json()) as { status?: string }).status !== 'completed') return false;
  }
  return true;
}
