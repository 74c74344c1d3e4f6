// A stream of bytes between two threads, over a message port, with backpressure: a chunk is written once the other side
// has room for more, so each side holds one chunk beyond its stream's buffer.
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
    this.#send(chunk);
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
