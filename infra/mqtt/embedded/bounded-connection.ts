// A connection from outside, as the embedded broker may see it: no packet larger than a bound on its way in, and on its
// way out a buffer that is large enough to never hold up others, with a limit on how long its owner may not read.
//
// Aedes waits for the drain of every subscriber of a message before the message counts as published, so one browser
// that stops reading would stop them all. It does not get to wait while the buffer here is below its high-water mark.
import { Duplex } from 'node:stream';

/** What an outsider may say: CONNECT, SUBSCRIBE, acknowledgements and pings. All fit easily. */
const MAX_PACKET_BYTES = 16 * 1024;
/** Bytes that wait for an outsider to read them. The broker forwards nothing more beyond half of it. */
const OUTGOING_BYTES = 1024 * 1024;
/** Who reads nothing for this long while something waits is gone, or might as well be. */
const FROZEN_AFTER_MS = 10_000;

export class BoundedConnection extends Duplex {
  readonly #inner: Duplex;
  readonly #frozenAfterMs: number;
  readonly #measure = packetMeter();
  #frozen: NodeJS.Timeout | undefined;

  constructor(inner: Duplex, frozenAfterMs = FROZEN_AFTER_MS) {
    super({ writableHighWaterMark: OUTGOING_BYTES, readableHighWaterMark: MAX_PACKET_BYTES, decodeStrings: true });
    this.#inner = inner;
    this.#frozenAfterMs = frozenAfterMs;
    inner.on('data', (chunk: Buffer) => {
      if (this.#measure(chunk) > MAX_PACKET_BYTES) this.destroy(new Error('packet larger than an outsider may send'));
      else if (!this.push(chunk)) inner.pause();
    });
    inner.on('end', () => this.push(null));
    inner.on('error', (error) => this.destroy(error));
    inner.on('close', () => this.destroy());
  }

  /** Whether so much waits to be read already that nothing of this size should be added. */
  isBehind(bytes: number): boolean {
    return this.writableLength + bytes > OUTGOING_BYTES / 2;
  }

  override _read(): void {
    this.#inner.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    // Called back when the operating system has taken the bytes, so that writableLength is all that waits.
    this.#frozen = setTimeout(() => this.destroy(new Error('reads too slowly')), this.#frozenAfterMs);
    this.#inner.write(chunk, (error) => {
      clearTimeout(this.#frozen);
      callback(error);
    });
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], callback: (error?: Error | null) => void) {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'utf8', callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#inner.end(() => callback());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#frozen);
    this.#inner.destroy();
    callback(error);
  }
}

/**
 * Follows a stream of MQTT packets and answers, for each chunk, the size of the largest packet begun so far (0 where
 * its length is not complete yet): a packet is a type byte, its remaining length in one to four bytes, seven bits
 * each, lowest first (MQTT 3.1.1, section 2.2.3), and that many bytes.
 */
function packetMeter(): (chunk: Buffer) => number {
  let toSkip = 0;
  /** Bytes of the fixed header seen so far. */
  let header = 0;
  let length = 0;
  let largest = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (toSkip > 0) {
        const skipped = Math.min(toSkip, chunk.length - at);
        toSkip -= skipped;
        at += skipped;
        continue;
      }
      const byte = chunk[at++] ?? 0;
      header++;
      if (header === 1) continue;
      length += (byte & 0x7f) * 128 ** (header - 2);
      // The fourth length byte is the last, whatever it says; the parser behind rejects what is malformed.
      if (byte >= 0x80 && header < 5) continue;
      largest = Math.max(largest, length);
      toSkip = length;
      header = 0;
      length = 0;
    }
    return largest;
  };
}
