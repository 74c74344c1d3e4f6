// One process at a time may use a data folder. LevelDB's lock is the operating system's: it ends with the process,
// also with one that is killed, so there is never a stale lock file to remove by hand.
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { DataDirInUse } from './errors.ts';

/** Takes the folder, or rejects with DataDirInUse. Resolves with the function that frees it. */
export async function lockDataDir(dataDir: string): Promise<() => Promise<void>> {
  const lock = new ClassicLevel(join(dataDir, 'lock'));
  try {
    await lock.open();
  } catch (error) {
    const cause = (error as Error).cause;
    if (cause instanceof Error && 'code' in cause && cause.code === 'LEVEL_LOCKED')
      throw new DataDirInUse(dataDir, error);
    throw error;
  }
  return () => lock.close();
}
