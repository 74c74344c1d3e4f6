import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { run } from '../../cli/program.ts';
import { expectWritable } from '../../demos/shared/files.ts';

let err = '';
beforeEach(() => {
  err = '';
  vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    err += chunk;
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

// Without the early check, each of these would start a system.
test.each([
  ['compare', '--svg'],
  ['outage', '--svg'],
  ['flash-sale', '--svg'],
  ['flash-sale', '--report'],
])('%s %s names a file that cannot be written, before the work', async (command, option) => {
  const file = join(tmpdir(), 'no such folder', 'file');
  expect(await run([command, option, file])).toBe(1);
  expect(err).toMatch(/^error: cannot write .*no such folder\/file: ENOENT.*\n$/);
});

test('accepts a new file in an existing folder', async () => {
  await expectWritable(undefined, join(tmpdir(), 'new.html'), 'new.svg');
});
