// The encoding of a text file without a declaration: UTF-8, UTF-16 or Windows-1252.

export type Encoding = 'UTF-8' | 'UTF-16 LE' | 'UTF-16 BE' | 'Windows-1252';

/** The characters of the bytes 0x80 to 0x9F. The five bytes that the encoding leaves undefined are damage. */
const WINDOWS_1252 = '€\uFFFD‚ƒ„…†‡ˆ‰Š‹Œ\uFFFDŽ\uFFFD\uFFFD‘’“”•–—˜™š›œ\uFFFDžŸ';
/** The header has this many bytes at least; a file in UTF-16 has a zero byte for each of its ASCII characters. */
const HEADER_BYTES = 64;

/** The UTF-16 of a text that begins with a byte-order mark or with ASCII characters, from its first bytes. */
export function detectUtf16(head: Buffer): Encoding | undefined {
  if (head[0] === 0xff && head[1] === 0xfe) return 'UTF-16 LE';
  if (head[0] === 0xfe && head[1] === 0xff) return 'UTF-16 BE';
  const start = head.subarray(0, HEADER_BYTES);
  const zeros = (parity: 0 | 1) => start.filter((byte, index) => byte === 0 && index % 2 === parity).length;
  const most = start.length * 0.4; // of the half that can be zero; allows for some other characters
  if (zeros(1) > most && zeros(0) === 0) return 'UTF-16 LE';
  if (zeros(0) > most && zeros(1) === 0) return 'UTF-16 BE';
  return undefined;
}

/**
 * Counts what speaks for UTF-8 and what against it, over a whole file. A stray byte alone is no proof of Windows-1252,
 * and neither is one well-formed sequence proof of UTF-8: É and ” side by side are one.
 */
export class Utf8Evidence {
  /** Sequences that text in Windows-1252 hardly ever has. */
  #likely = 0;
  /** Sequences of two bytes whose first one is an accented capital in Windows-1252. */
  #unlikely = 0;
  #stray = 0;
  /** The start of a sequence at the end of the last chunk. */
  #rest = Buffer.alloc(0);

  add(chunk: Buffer): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = Buffer.alloc(0);
    for (let at = 0; at < bytes.length; at++) {
      const lead = bytes[at] ?? 0;
      if (lead < 0x80) continue;
      const length = sequenceLength(lead);
      if (at + length > bytes.length) {
        this.#rest = Buffer.from(bytes.subarray(at)); // a copy of at most three bytes, not the chunk
        return;
      }
      if (length === 1 || !isContinued(bytes, at, length)) {
        this.#stray++;
        continue;
      }
      if (length > 2 || lead <= 0xc5) this.#likely++;
      else this.#unlikely++;
      at += length - 1;
    }
  }

  /** After the last chunk. */
  decide(): 'UTF-8' | 'Windows-1252' {
    const stray = this.#stray + this.#rest.length;
    return 8 * this.#likely + this.#unlikely / 2 >= stray ? 'UTF-8' : 'Windows-1252';
  }
}

/** By the first byte; 1 for bytes that begin no sequence. */
function sequenceLength(lead: number): number {
  if (lead < 0xc2 || lead > 0xf4) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

function isContinued(bytes: Buffer, at: number, length: number): boolean {
  for (let next = at + 1; next < at + length; next++) if (((bytes[next] ?? 0) & 0xc0) !== 0x80) return false;
  return true;
}

/** Transcodes to UTF-8. Bytes that are no text become U+FFFD, here or (in UTF-8) when the parser reads the cell. */
export async function* toUtf8(chunks: AsyncIterable<Buffer>, encoding: Encoding): AsyncGenerator<Buffer> {
  if (encoding === 'UTF-8') return yield* chunks;
  if (encoding === 'Windows-1252') {
    for await (const chunk of chunks) yield Buffer.from(windows1252(chunk));
    return;
  }
  const decoder = new TextDecoder(encoding === 'UTF-16 LE' ? 'utf-16le' : 'utf-16be');
  for await (const chunk of chunks) yield Buffer.from(decoder.decode(chunk, { stream: true }));
  yield Buffer.from(decoder.decode());
}

/** Not by TextDecoder: some versions of Node.js read windows-1252 as Latin-1, which has control characters there. */
const windows1252 = (bytes: Buffer): string =>
  bytes.toString('latin1').replace(/[\x80-\x9f]/g, (character) => WINDOWS_1252[character.charCodeAt(0) - 0x80] ?? '');
