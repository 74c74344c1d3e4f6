// One process at a time may use a data folder. LevelDB's lock is the operating system's: it ends with the process,
// also with one that is killed, so there is never a stale lock file to remove by hand.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { DataDirInUse, DataDirUnusable } from './data-dir-errors.ts';

/**
 * Opens `<dataDir>/<name>`. Rejects with DataDirInUse where another process has it open, and with DataDirUnusable where
 * there can be no such folder.
 */
export async function openLevel(dataDir: string, name: string): Promise<ClassicLevel<string, Buffer>> {
  const folder = join(dataDir, name);
  await mkdir(folder, { recursive: true }).catch((error) => {
    throw new DataDirUnusable(dataDir, error);
  });
  const level = new ClassicLevel<string, Buffer>(folder, { valueEncoding: 'buffer' });
  try {
    await level.open();
    return level;
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } };
    throw cause?.code === 'LEVEL_LOCKED' ? new DataDirInUse(dataDir, error) : error;
  }
}

/** Takes the folder. Resolves with the function that frees it. */
export async function lockDataDir(dataDir: string): Promise<() => Promise<void>> {
  const lock = await openLevel(dataDir, 'lock');
  return () => lock.close();
}
