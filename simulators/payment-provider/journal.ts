// An append-only file of JSON lines that survives kill -9 and power loss: a record is on the disk once append()
// resolves. Records that wait together share one write and one fsync.
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import { PendingSet } from '../../infra/runtime/collections.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';

const NEWLINE = 0x0a;

export class Journal {
  readonly #file: FileHandle;
  readonly #writes = new GroupCommit<object, void>({
    run: (batch) => this.#write(batch),
    key: () => '', // one after the other, in the order of their calls
    maxBatch: 1_000,
    maxWaiting: Number.POSITIVE_INFINITY,
  });
  readonly #underWay = new PendingSet();
  #failure: unknown;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /**
   * Opens the file, which only this process may use, and passes every record to `replay`, oldest first. Removes an
   * incomplete last line: its append() never resolved. Rejects with a StartupError if another line cannot be parsed or
   * `replay` throws for it.
   */
  static async open(path: string, replay: (record: unknown) => void): Promise<Journal> {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, 'a+', 0o600);
    try {
      await file.truncate(await read(file, path, replay));
      await file.sync();
      await syncFolder(dirname(path));
    } catch (error) {
      await file.close();
      throw error;
    }
    return new Journal(file);
  }

  /** Resolves when the record is on the disk. After a failed write, every append rejects until the file is reopened. */
  append(record: object): Promise<void> {
    return this.#underWay.add(this.#writes.submit(record));
  }

  /** Waits for appends under way. */
  async close(): Promise<void> {
    await this.#underWay.settled();
    await this.#file.close();
  }

  async #write(batch: object[]): Promise<undefined[]> {
    // A failed write may have left a part of a line, so no line may follow it.
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.#file.appendFile(batch.map((record) => `${JSON.stringify(record)}\n`).join(''));
      await this.#file.datasync();
    } catch (error) {
      this.#failure = error;
      throw error;
    }
    return batch.map(() => undefined);
  }
}

/** Reads the complete lines; resolves with their size in bytes. */
async function read(file: FileHandle, path: string, replay: (record: unknown) => void): Promise<number> {
  let rest: Buffer = Buffer.alloc(0);
  let size = 0;
  let number = 0;
  for await (const chunk of file.createReadStream({ start: 0, autoClose: false })) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      number++;
      try {
        replay(JSON.parse(rest.toString('utf8', 0, end)));
      } catch (cause) {
        throw new StartupError(`${path}, line ${number}, cannot be read: repair it or move the file away`, { cause });
      }
      size += end + 1;
      rest = rest.subarray(end + 1);
    }
  }
  return size;
}

/** Makes a new file survive a power loss. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
