// A connection of the load generator: writes serialized requests, and parses responses only as far as needed to find
// their end. An HTTP client library would cost as much as the server that is measured.
import { connect, type Socket } from 'node:net';

/** A POST with a JSON body, and with a token if one is given, as it goes over the wire. */
export function serializePost({ host, pathname }: URL, body: string, token?: string): Buffer {
  const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`;
  return Buffer.from(
    `POST ${pathname} HTTP/1.1\r\nHost: ${host}\r\n${authorization}Content-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** Instead of a status: the connection broke before the response. */
export const BROKEN = 0;

export interface ConnectionEvents {
  /** Once, when it is connected. */
  readonly onReady: () => void;
  /** Once for each send(), with the milliseconds since then, unless the connection breaks first. */
  readonly onResponse: (status: number, ms: number) => void;
  /** Before it was ready, or instead of a response. The next send() connects again. */
  readonly onBroken: () => void;
}

export class RawConnection {
  readonly #url: URL;
  readonly #events: ConnectionEvents;
  /** Undefined after the server ended the connection, as it does with idle ones. */
  #socket: Socket | undefined;
  #received: Buffer = Buffer.alloc(0);
  /** Connecting for the first time, or waiting for a response. */
  #busy = true;
  #sentAt = 0;

  constructor(url: URL, events: ConnectionEvents) {
    this.#url = url;
    this.#events = events;
    this.#socket = this.#connect();
    this.#socket.once('connect', () => {
      this.#busy = false;
      events.onReady();
    });
  }

  /** One request at a time. */
  send(request: Buffer): void {
    this.#busy = true;
    this.#sentAt = performance.now();
    this.#socket ??= this.#connect();
    this.#socket.write(request);
  }

  close(): void {
    this.#busy = false;
    this.#socket?.destroy();
  }

  #connect(): Socket {
    const socket = connect({ host: this.#url.hostname, port: Number(this.#url.port), noDelay: true });
    const ended = () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      this.#received = Buffer.alloc(0);
      if (!this.#busy) return;
      this.#busy = false;
      this.#events.onBroken();
    };
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('end', ended);
    socket.on('error', ended);
    return socket;
  }

  #read(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const headEnd = this.#received.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const head = this.#received.toString('latin1', 0, headEnd);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined) throw new Error(`a response without Content-Length: ${head}`);
    if (this.#received.length < headEnd + 4 + Number(length)) return;
    this.#received = Buffer.alloc(0);
    this.#busy = false;
    this.#events.onResponse(Number(head.slice(9, 12)), performance.now() - this.#sentAt);
  }
}
