// The connection of an external client, with limits that protect the embedded broker: on the size of incoming packets,
// on the bytes that wait for the client, and on how long the client may take to read them.
//
// Aedes waits for the drain of every subscriber of a message before it counts the message as published, so one browser
// that stops reading would stop them all. Aedes never waits while the buffer here is below its high-water mark.
import { Duplex } from 'node:stream';
import { deferred } from '../../runtime/promises.ts';

/** External clients send CONNECT, SUBSCRIBE, acknowledgements and pings, all of which are far smaller. */
const MAX_PACKET_BYTES = 16 * 1024;
/** Bytes that may wait for the client. The broker forwards no message beyond half of it. */
const OUTGOING_BYTES = 1024 * 1024;
/**
 * A client that takes longer than this to read the bytes of one write is disconnected. One write may hold all bytes
 * that waited.
 */
const READ_TIMEOUT_MS = 10_000;

export class BoundedConnection extends Duplex {
  /** Of the client. */
  readonly address: string;
  /** Resolves once the client has presented a valid token, or the connection has ended. */
  readonly authenticated: Promise<void>;
  readonly #authenticated = deferred();
  readonly #inner: Duplex;
  readonly #measure = packetMeter();
  #readTimer: NodeJS.Timeout | undefined;

  constructor(inner: Duplex, address: string) {
    super({ writableHighWaterMark: OUTGOING_BYTES, readableHighWaterMark: MAX_PACKET_BYTES, decodeStrings: true });
    this.address = address;
    this.#inner = inner;
    this.authenticated = this.#authenticated.promise;
    this.once('close', () => this.setAuthenticated());
    inner.on('data', (chunk: Buffer) => {
      if (this.#measure(chunk) > MAX_PACKET_BYTES) this.destroy(new Error('packet too large for an external client'));
      else if (!this.push(chunk)) inner.pause();
    });
    inner.on('end', () => this.push(null));
    inner.on('error', (error) => this.destroy(error));
    inner.on('close', () => this.destroy());
  }

  setAuthenticated(): void {
    this.#authenticated.resolve();
  }

  /** Whether too many bytes wait already to add this many. */
  isBehind(bytes: number): boolean {
    return this.writableLength + bytes > OUTGOING_BYTES / 2;
  }

  override _read(): void {
    this.#inner.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    // The callback comes when the operating system has taken the bytes, so writableLength counts all that wait.
    this.#readTimer = setTimeout(() => this.destroy(new Error('reads too slowly')), READ_TIMEOUT_MS);
    this.#inner.write(chunk, (error) => {
      clearTimeout(this.#readTimer);
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
    clearTimeout(this.#readTimer);
    this.#inner.destroy();
    callback(error);
  }
}

/**
 * Follows a stream of MQTT packets and returns, for each chunk, the size of the largest packet so far (0 before the
 * first length is complete). A packet is a type byte, its remaining length in one to four bytes of seven bits each,
 * lowest first (MQTT 3.1.1, section 2.2.3), and that many bytes.
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
      // The fourth length byte is the last; Aedes' parser rejects malformed ones.
      if (byte >= 0x80 && header < 5) continue;
      largest = Math.max(largest, length);
      toSkip = length;
      header = 0;
      length = 0;
    }
    return largest;
  };
}
