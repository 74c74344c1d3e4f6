// The bytes of an invoice file, as often as they are needed: from a file, or from standard input through a temporary
// file. The content of a gzip file is decompressed each time, so that no copy of it is stored.
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addAbortSignal, pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { CliError, messageOf } from '../shared/errors.ts';

/** The file name that stands for standard input, by the convention of shells. */
const STDIN = '-';
/** What standard input or a pipe may hold, as it arrives (compressed if it is gzip): twenty times both data sets. */
const MAX_SPOOLED_BYTES = 4 * 1024 ** 3;

const CHUNK_BYTES = 64 * 1024;

/** Files that are no text, by their first bytes. */
const FOREIGN: readonly (readonly [start: string, what: string])[] = [
  ['504b0304', 'an Excel workbook or a ZIP archive; save the sheet as CSV'],
  ['d0cf11e0', 'an Excel workbook; save the sheet as CSV'],
  ['425a68', 'compressed with bzip2; decompress it'],
  ['fd377a58', 'compressed with xz; decompress it'],
  ['28b52ffd', 'compressed with zstd; decompress it'],
  ['1f8b', 'compressed with gzip twice; decompress it'],
  ['fffe0000', 'encoded in UTF-32; save it as UTF-8'],
  ['0000feff', 'encoded in UTF-32; save it as UTF-8'],
];

export class Source {
  /** For messages. */
  readonly name: string;
  readonly gzip: boolean;
  readonly #handle: FileHandle;

  private constructor(name: string, gzip: boolean, handle: FileHandle) {
    this.name = name;
    this.gzip = gzip;
    this.#handle = handle;
  }

  /**
   * Resolves for standard input (`-`) and pipes once they have ended. Memory holds a chunk of them; more than
   * `maxSpooledBytes` is rejected. Rejects with a CliError if the file cannot be read.
   */
  static async open(file: string, signal: AbortSignal, maxSpooledBytes = MAX_SPOOLED_BYTES): Promise<Source> {
    const name = file === STDIN ? 'standard input' : file;
    try {
      const isFile = file !== STDIN && (await stat(file)).isFile();
      const handle = isFile ? await open(file) : await spool(file, signal, maxSpooledBytes);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
      return new Source(name, bytesRead === 2 && buffer.toString('hex') === '1f8b', handle);
    } catch (error) {
      signal.throwIfAborted();
      throw readError(name, error);
    }
  }

  /** All bytes from the start, decompressed, in chunks of up to 64 KiB. Rejects with a CliError. */
  async *bytes(): AsyncGenerator<Buffer> {
    let isFirst = true;
    try {
      // The callback has nothing to do: the last stream reports the errors of both.
      const chunks = this.gzip ? pipeline(this.#stored(), createGunzip(), () => {}) : this.#stored();
      for await (const chunk of chunks as AsyncIterable<Buffer>) {
        if (isFirst) rejectForeign(this.name, chunk);
        isFirst = false;
        yield chunk;
      }
    } catch (error) {
      throw readError(this.name, error);
    }
  }

  /** As the file has them. A stream of the handle would close it at the end of the first pass. */
  async *#stored(): AsyncGenerator<Buffer> {
    for (let position = 0; ; ) {
      const { buffer, bytesRead } = await this.#handle.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Copies a stream that can be read only once into a temporary file. */
async function spool(file: string, signal: AbortSignal, maxBytes: number): Promise<FileHandle> {
  const path = join(tmpdir(), `sluice-replay-${randomUUID()}`);
  const handle = await open(path, 'wx+', 0o600);
  try {
    await unlink(path); // so that the file is gone with the process, however that ends
    const input = file === STDIN ? process.stdin : createReadStream(file);
    let bytes = 0;
    for await (const chunk of addAbortSignal(signal, input) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new Error(`it has more than ${maxBytes} bytes; store it as a file`);
      await handle.appendFile(chunk);
    }
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function rejectForeign(name: string, chunk: Buffer): void {
  const start = chunk.toString('hex', 0, 4);
  const found = FOREIGN.find(([bytes]) => start.startsWith(bytes));
  if (found) throw new CliError(`${name} is ${found[1]}`);
}

function readError(name: string, error: unknown): CliError {
  if (error instanceof CliError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'Z_BUF_ERROR')
    return new CliError(`${name} breaks off: its gzip data has no end; nothing was placed`, { cause: error });
  if (code.startsWith('Z_'))
    return new CliError(`${name} is damaged (gzip: ${messageOf(error)}); nothing was placed`, { cause: error });
  return new CliError(`cannot read ${name}: ${messageOf(error)}`, { cause: error });
}
