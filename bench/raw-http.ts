// A connection of the load generator: writes requests that were serialized before, and reads of the answers no more
// than where they end. An HTTP client library would cost as much as the server that is measured.
import { connect, type Socket } from 'node:net';

/** `POST path` with a JSON body, as it goes over the wire. */
export function serializePost(host: string, path: string, body: string): Buffer {
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

export class RawConnection {
  readonly #url: URL;
  readonly #onAnswer: (status: number) => void;
  readonly #onError: (error: Error) => void;
  /** Undefined before the first request, and when the server has ended the connection, as it does after idle seconds. */
  #socket: Socket | undefined;
  #received: Buffer = Buffer.alloc(0);
  #busy = false;

  /** `onAnswer` is called once for each send(), unless the connection breaks meanwhile: then `onError` is. */
  constructor(url: URL, onAnswer: (status: number) => void, onError: (error: Error) => void) {
    this.#url = url;
    this.#onAnswer = onAnswer;
    this.#onError = onError;
  }

  /** One request at a time. */
  send(request: Buffer): void {
    this.#busy = true;
    this.#socket ??= this.#connect();
    this.#socket.write(request);
  }

  close(): void {
    this.#socket?.destroy();
  }

  #connect(): Socket {
    const socket = connect({ host: this.#url.hostname, port: Number(this.#url.port), noDelay: true });
    const ended = (error: Error) => {
      this.#socket = undefined;
      if (this.#busy) this.#onError(error);
    };
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('end', () => ended(new Error('the server ended a connection without an answer')));
    socket.on('error', ended);
    return socket;
  }

  #read(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const headEnd = this.#received.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const head = this.#received.toString('latin1', 0, headEnd);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined) throw new Error(`an answer without Content-Length: ${head}`);
    if (this.#received.length < headEnd + 4 + Number(length)) return;
    this.#received = Buffer.alloc(0);
    this.#busy = false;
    this.#onAnswer(Number(head.slice(9, 12)));
  }
}
