// The folder of a PGlite database, created before its first use.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { assertRoomForDatabase } from '../runtime/data-dir.ts';
import { reasonOf } from '../runtime/reason.ts';
import { StartFailed, StartupError } from '../runtime/startup-error.ts';

const INITDB = fileURLToPath(new URL('./initdb.js', import.meta.url));
/** A process that was killed while it created a folder may have left a child that writes to it for seconds. */
const REMOVAL = { recursive: true, force: true, maxRetries: 10, retryDelay: 200 } as const;

/**
 * Creates a database in `dataDir` unless it holds one. Resolves with the folder to open, because PGlite does not follow
 * symbolic links. Rejects with a StartupError.
 */
export async function ensureDataFolder(dataDir: string): Promise<string> {
  const folder = await realpath(dataDir).catch(() => dataDir);
  if (existsSync(join(folder, 'PG_VERSION'))) return folder;
  const failure = (reason: string, remedy: string) => `cannot create the database in ${dataDir} (${reason}): ${remedy}`;
  if ((await readdir(folder).catch(() => [])).length > 0)
    throw new StartupError(
      failure('it is not empty, and holds no database', 'empty it, or set DATA_DIR to another folder'),
    );
  await createDataFolder(folder).catch((error) => {
    const remedy = 'free memory or disk space, or set DATA_DIR to another folder';
    throw new StartFailed(failure(reasonOf(error), remedy), { cause: error });
  });
  return folder;
}

/**
 * Writes to a folder beside `dataDir`, which is renamed when it is complete, so a killed start leaves no incomplete
 * `dataDir`.
 */
async function createDataFolder(dataDir: string): Promise<void> {
  const parent = dirname(dataDir);
  const prefix = `${basename(dataDir)}.new-`;
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent)) if (name.startsWith(prefix)) await rm(join(parent, name), REMOVAL);
  await assertRoomForDatabase(parent);
  const folder = await mkdtemp(join(parent, prefix));
  try {
    await initialise(folder);
    await rename(folder, dataDir);
  } catch (error) {
    await rm(folder, REMOVAL);
    throw error;
  }
}

async function initialise(folder: string): Promise<void> {
  await promisify(execFile)(process.execPath, [INITDB, folder]).catch(({ signal, stderr }) => {
    throw new Error(signal ? `initdb was killed by ${signal}` : String(stderr).trim());
  });
}
