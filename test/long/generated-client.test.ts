// Another generator reads docs/openapi.json: openapi-typescript, in a package of its own with TypeScript 5, because it
// does not run on TypeScript 7.
import { execFileSync } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished, test } from 'vitest';

const ours = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

test('openapi-typescript makes types with which an order can be placed', { timeout: 300_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-generated-client-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await cp(ours('test/generated-client'), folder, { recursive: true });
  await cp(ours('docs/openapi.json'), join(folder, 'openapi.json'));
  const npm = (...args: string[]) => execFileSync('npm', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
  npm('ci', '--no-audit', '--no-fund');
  npm('run', 'generate');
  npm('run', 'check');
});
