// An append-only file of JSON lines that survives kill -9 and power loss: what append() has resolved for is on the disk.
// Lines that wait together share one write and one fsync.
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';

const MAX_BATCH = 1_000;
const NEWLINE = 0x0a;

export interface Journal {
  /** Resolves when the record is on the disk. After a failed write nothing is appended until the file is opened anew. */
  append(record: object): Promise<void>;
  /** Waits for what is being written. */
  close(): Promise<void>;
}

/**
 * Opens the file, which only this process may use, and hands every record in it to `replay`, oldest first. A last line
 * that was not written whole is removed: nobody was told that it was. Rejects with a StartupError where another line
 * cannot be read, which is what `replay` throws for.
 */
export async function openJournal(file: string, replay: (record: unknown) => void): Promise<Journal> {
  await mkdir(dirname(file), { recursive: true });
  const handle = await open(file, 'a+', 0o600);
  try {
    const size = await read(handle, file, replay);
    await handle.truncate(size);
    await handle.sync();
    await syncFolder(dirname(file));
  } catch (error) {
    await handle.close();
    throw error;
  }
  const writes = new GroupCommit<object, void>({
    run: whole(handle),
    key: () => '', // in the order in which they came
    maxBatch: MAX_BATCH,
    maxWaiting: Number.POSITIVE_INFINITY,
  });
  const underWay = new Set<Promise<void>>();
  return {
    append: (record) => {
      const written = writes.submit(record).finally(() => underWay.delete(written));
      underWay.add(written);
      return written;
    },
    close: async () => {
      await Promise.allSettled(underWay);
      await handle.close();
    },
  };
}

/** Reads the complete lines; resolves with the bytes that they take. */
async function read(handle: FileHandle, file: string, replay: (record: unknown) => void): Promise<number> {
  let rest: Buffer = Buffer.alloc(0);
  let size = 0;
  let number = 0;
  for await (const chunk of handle.createReadStream({ start: 0, autoClose: false })) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      number++;
      try {
        replay(JSON.parse(rest.toString('utf8', 0, end)));
      } catch (error) {
        throw new StartupError(`${file}, line ${number}, cannot be read: repair it or move the file away`, {
          cause: error,
        });
      }
      size += end + 1;
      rest = rest.subarray(end + 1);
    }
  }
  return size;
}

/** Writes batches, until one fails: what is on the disk of that one is not known, so no line may follow it. */
function whole(handle: FileHandle): (batch: object[]) => Promise<undefined[]> {
  let broken: unknown;
  return async (batch) => {
    if (broken !== undefined) throw broken;
    try {
      await handle.appendFile(batch.map((record) => `${JSON.stringify(record)}\n`).join(''));
      await handle.datasync();
    } catch (error) {
      broken = error;
      throw error;
    }
    return batch.map(() => undefined);
  };
}

/** So that a file that was just created is still found after a power loss. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
