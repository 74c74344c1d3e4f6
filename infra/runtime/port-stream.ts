// A stream of bytes between two threads, over a message port, with backpressure: chunks wait in the stream's buffer
// until the other side has taken the previous ones, and then cross together. So a side holds, besides its own full
// buffers, at most the bytes of one full buffer of the other side.
import { Duplex } from 'node:stream';
import type { MessagePort } from 'node:worker_threads';

type Message = Uint8Array | 'taken' | 'end';

export class PortStream extends Duplex {
  readonly #port: MessagePort;
  /** Ends the write under way. */
  #written: (() => void) | undefined;
  /** The other side waits until this one has room. */
  #isFull = false;

  constructor(port: MessagePort) {
    super();
    this.#port = port;
    port.on('message', (message: Message) => this.#receive(message));
    port.once('close', () => this.destroy());
  }

  #receive(message: Message): void {
    if (message === 'taken') {
      const written = this.#written;
      this.#written = undefined;
      written?.();
    } else if (message === 'end') this.push(null);
    else if (this.push(message)) this.#send('taken');
    else this.#isFull = true;
  }

  #send(message: Message): void {
    this.#port.postMessage(message);
  }

  override _read(): void {
    if (!this.#isFull) return;
    this.#isFull = false;
    this.#send('taken');
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.#written = callback;
    // A copy, because cloning a Buffer clones all of the pool that it is a part of: 8 KB for each small packet.
    this.#send(new Uint8Array(chunk));
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], callback: () => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'utf8', callback);
  }

  override _final(callback: () => void): void {
    this.#send('end');
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#port.close();
    callback(error);
  }
}
