// New embedded databases. To create one takes three seconds of CPU, to copy one less than half a second, so each run
// creates one and copies it.
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inject } from 'vitest';
import { exitText, Supervisor } from '../../demos/shared/child-process.ts';
import { serverFolder } from '../../demos/shared/folder.ts';

const script = fileURLToPath(new URL('../../infra/database/initdb.js', import.meta.url));

export interface PgliteTemplate {
  readonly folder: string;
  remove(): Promise<void>;
}

/** For the setup of a run. */
export async function createPgliteTemplate(): Promise<PgliteTemplate> {
  const supervisor = await Supervisor.open(await serverFolder('pglite'));
  const folder = join(supervisor.folder, 'database');
  const child = await supervisor.start({ name: 'a new database', args: [script, folder], env: {} });
  const exit = await child.exited;
  if (exit.code !== 0) {
    await supervisor.close();
    throw new Error(`no embedded database was created (${exitText(exit)}):\n${child.lastLines}`);
  }
  return { folder, remove: () => supervisor.close() };
}

/** Makes `dataDir` a new database, which openPglite only has to open. */
export async function newPglite(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  await promisify(execFile)('cp', ['-R', `${inject('pgliteTemplate')}/.`, dataDir]);
}
