// The creation of an embedded database's folder.
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPglite } from '../../infra/database/pglite.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-folder-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function openAndClose(dataDir: string): Promise<void> {
  const database = await openPglite({ dataDir });
  await database.close();
}

test('what a killed creation left is removed, and the folder of another database stays', async () => {
  const parent = join(folder, 'killed');
  for (const name of ['database.new-x1', 'other.new-x1']) await mkdir(join(parent, name, 'base'), { recursive: true });
  await openAndClose(join(parent, 'database'));
  expect((await readdir(parent)).sort()).toEqual(['database', 'other.new-x1']);
});

test('an empty folder that a link names is used', async () => {
  const [target, link] = [join(folder, 'target'), join(folder, 'link')];
  await mkdir(target);
  await symlink(target, link);
  await openAndClose(link);
  expect(await readdir(target)).toContain('PG_VERSION');
});

test('a folder that holds something else is left alone, and the error says what to do', async () => {
  const dataDir = join(folder, 'photos');
  await mkdir(dataDir);
  await writeFile(join(dataDir, 'cat.jpg'), '');
  const opened = openPglite({ dataDir });
  await expect(opened).rejects.toBeInstanceOf(StartupError);
  await expect(opened).rejects.toThrow(
    `cannot create the database in ${dataDir} (it is not empty, and holds no database): ` +
      'empty it, or set DATA_DIR to another folder',
  );
  expect(await readdir(dataDir)).toEqual(['cat.jpg']);
});
