// One process at a time may use a data folder. LevelDB's lock belongs to the operating system and ends with the
// process, even after kill -9, so no stale lock file is left to remove by hand.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { StartupError } from './startup-error.ts';

export class DataDirInUse extends StartupError {
  override readonly name = 'DataDirInUse';
  constructor(dataDir: string, cause: unknown) {
    super(`${dataDir} is in use by another process: stop that process, or set DATA_DIR to another folder`, { cause });
  }
}

/**
 * Opens `<dataDir>/<name>`. Rejects with DataDirInUse if another process has it open, and with a StartupError if the
 * folder cannot be created.
 */
export async function openLevel(dataDir: string, name: string): Promise<ClassicLevel<string, Buffer>> {
  const folder = join(dataDir, name);
  await mkdir(folder, { recursive: true }).catch((error) => {
    const message = `${dataDir} cannot be used for data: ${error.message}; set DATA_DIR to another folder`;
    throw new StartupError(message, { cause: error });
  });
  const level = new ClassicLevel<string, Buffer>(folder, { valueEncoding: 'buffer' });
  await level.open().catch((error) => {
    throw error.cause?.code === 'LEVEL_LOCKED' ? new DataDirInUse(dataDir, error) : error;
  });
  return level;
}

/** Locks the folder for this process. Resolves with the function that unlocks it. */
export async function lockDataDir(dataDir: string): Promise<() => Promise<void>> {
  const lock = await openLevel(dataDir, 'lock');
  return () => lock.close();
}
