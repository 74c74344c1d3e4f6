// The gate as `npm run check` runs it, in copies of the sources.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Copy, copyOfSources } from '../mutations/copy.ts';
import { type Change, changed } from '../mutations/mutation.ts';
import { changeSources } from '../upgrade/newer-copy.ts';

const run = promisify(execFile);

let copy: Copy;
beforeAll(async () => {
  copy = await copyOfSources();
  await changeSources(copy.root);
});
afterAll(() => copy?.remove());

/** Resolves with the exit code and the output. */
const gate = () =>
  run(process.execPath, ['--import', import.meta.resolve('tsx'), 'bin/check-contracts.ts'], { cwd: copy.root }).then(
    () => ({ code: 0, stderr: '' }),
    ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
  );

async function withChange(change: Change, work: () => Promise<void>): Promise<void> {
  const path = join(copy.root, change.file);
  const before = await readFile(path, 'utf8');
  await writeFile(path, changed(before, change));
  try {
    await work();
  } finally {
    await writeFile(path, before);
  }
}

test('permits the change of the newer copy', async () => {
  expect(await gate()).toEqual({ code: 0, stderr: '' });
});

test.for<readonly [string, Change, string]>([
  [
    'a response without a field',
    { file: 'contracts/orders.ts', find: 'cancelReason: z', replace: 'cancelledBecause: z' },
    'response of GET /orders/{} 200: cancelReason: field-removed: ',
  ],
  [
    'a new status of a step',
    { file: 'contracts/orders.ts', find: `'skipped', 'reverted'])`, replace: `'skipped', 'reverted', 'lost'])` },
    'response of GET /orders/{} 200: steps.points.status: enum: added: "lost"',
  ],
  [
    'a request with a lower limit',
    { file: 'contracts/orders.ts', find: '.max(2_000)', replace: '.max(1_000)' },
    'body of POST /orders: items: limit: maxItems: 2000 became 1000',
  ],
  [
    'a request that needs a body',
    {
      file: 'contracts/routes/orders.ts',
      find: 'body: { schema: cancelRequest, optional: true,',
      replace: 'body: { schema: cancelRequest,',
    },
    'form of POST /orders/{}/cancel: body: enum: removed: "none"',
  ],
  [
    'a path with other ids',
    { file: 'contracts/routes/route.ts', find: '({ schema: uuid, what })', replace: '({ schema: uuid.max(9), what })' },
    'path of GET /orders/{}: 1: limit: ',
  ],
  [
    'an event with another name of a field',
    { file: 'contracts/events.ts', find: `step: z.enum(['points'`, replace: `part: z.enum(['points'` },
    'event step.failed: data.step: field-removed: ',
  ],
  [
    'a currency less',
    { file: 'contracts/money.ts', find: 'DKK DOP', replace: 'DOP' },
    'body of POST /orders: currency: enum: removed: "DKK"',
  ],
])('rejects %s, naming the field and the rule', async ([, change, line]) => {
  await withChange(change, async () => {
    const { code, stderr } = await gate();
    expect(stderr).toContain(line);
    expect(code).toBe(1);
  });
});
