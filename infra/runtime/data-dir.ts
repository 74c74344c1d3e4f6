// One process at a time may use a data folder. LevelDB's lock belongs to the operating system and ends with the
// process, even after kill -9, so no stale lock file is left to remove by hand.
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { within } from './promises.ts';
import { reasonOf } from './reason.ts';
import { StartupError } from './startup-error.ts';

export class DataDirInUse extends StartupError {
  override readonly name = 'DataDirInUse';
  constructor(dataDir: string, cause: unknown) {
    super(`${dataDir} is in use by another process: stop that process, or set DATA_DIR to another folder`, { cause });
  }
}

/** A file system that does not respond, such as that of a server that is away. */
export class FileSystemSilent extends StartupError {
  override readonly name = 'FileSystemSilent';
  constructor(dataDir: string) {
    super(`the file system of ${dataDir} does not respond within ${RESPONSE_MS} ms: set DATA_DIR to another folder`);
  }
}

/** How long the file system may take for each of its checks; a busy disk takes well under a second. */
const RESPONSE_MS = 5_000;

/** A new embedded database has 45 MB, and its write-ahead log grows to 128 MB. */
const MIN_FREE_BYTES = 200 * 1024 * 1024;

/** Creates the folder if it is missing. Rejects with a StartupError if that is not possible. */
export const makeDataDir = (dataDir: string): Promise<void> => usable(dataDir, makeFolder(dataDir));

/**
 * Opens `<dataDir>/<name>`. Rejects with DataDirInUse if another process has it open, and with a StartupError if the
 * folder cannot hold data.
 */
export async function openLevel(dataDir: string, name: string): Promise<ClassicLevel<string, Buffer>> {
  const folder = join(dataDir, name);
  await usable(dataDir, makeFolder(folder));
  const level = new ClassicLevel<string, Buffer>(folder, { valueEncoding: 'buffer' });
  const opening = level.open().catch((error) => {
    const isLocked = error.cause?.code === 'LEVEL_LOCKED' && !CANNOT_LOCK.test(error.cause.message);
    throw isLocked ? new DataDirInUse(dataDir, error) : (error.cause ?? error);
  });
  await usable(dataDir, opening);
  return level;
}

/** Errors of a file system that has no locks. */
const CANNOT_LOCK = /No locks available|not supported|not implemented|Invalid argument/i;

/** Locks the folder for this process, and checks it. Resolves with the function that unlocks it. */
export async function lockDataDir(dataDir: string): Promise<() => Promise<void>> {
  const lock = await openLevel(dataDir, 'lock');
  try {
    await usable(dataDir, checkFileSystem(dataDir));
  } catch (error) {
    if (!(error instanceof FileSystemSilent)) await lock.close();
    throw error;
  }
  return () => lock.close();
}

/** Settles like `work`, but rejects with a StartupError if the folder cannot be used. */
const usable = <T>(dataDir: string, work: Promise<T>): Promise<T> =>
  within(RESPONSE_MS, work, () => new FileSystemSilent(dataDir)).catch((error) => {
    if (error instanceof StartupError) throw error;
    const message = `${dataDir} cannot be used for data: ${reasonOf(error)}; set DATA_DIR to another folder`;
    throw new StartupError(message, { cause: error });
  });

/** On /proc, Node's own recursive mkdir never ends, and on a read-only file system it names another error. */
async function makeFolder(folder: string): Promise<void> {
  const make = () =>
    mkdir(folder).catch(async (error) => {
      if (error.code !== 'EEXIST' || !(await stat(folder)).isDirectory()) throw error;
    });
  await make().catch(async (error) => {
    if (error.code !== 'ENOENT' || dirname(folder) === folder) throw error;
    await makeFolder(dirname(folder));
    await make();
  });
}

/**
 * Does what the embedded servers rely on: a synced file replaces another one under its name, with the given mode, and
 * is read back as it was written. A file system without this would fail later, in words that do not name it.
 */
async function checkFileSystem(dataDir: string): Promise<void> {
  const target = join(dataDir, '.check');
  const content = randomBytes(8_192);
  await writeFile(target, '');
  const file = await open(`${target}.new`, 'w', 0o600);
  try {
    await file.writeFile(content);
    await file.chmod(0o600);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${target}.new`, target);
  const read = await readFile(target);
  await rm(target);
  if (!content.equals(read)) throw new Error('its file system does not return what was written');
}

/** Rejects unless the file system of a folder has room for a new embedded database. */
export async function assertRoomForDatabase(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < MIN_FREE_BYTES)
    throw new Error(`its file system has ${mebibytes(free)} free, less than ${mebibytes(MIN_FREE_BYTES)}`);
}

const mebibytes = (bytes: number) => `${Math.floor(bytes / 1024 / 1024)} MiB`;
