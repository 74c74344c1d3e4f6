// Connections to the embedded broker from outside its process, over TCP and WebSocket: limited in number and in what
// they may buffer, and closed with the broker.
import type { Server as HttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { MqttPortInUse } from '../../runtime/data-dir-errors.ts';
import { BoundedConnection } from './bounded-connection.ts';
import { acceptWebSockets } from './websocket.ts';

/** Connections at a time; more are rejected. */
const MAX_CONNECTIONS = 1_000;

export class ExternalClients {
  readonly #handle: (connection: BoundedConnection) => void;
  readonly #connections = new Set<BoundedConnection>();
  readonly #tcp: Server;
  readonly #stopWebSockets: (() => void)[] = [];

  /** `handle` is called with each accepted connection. */
  constructor(handle: (connection: BoundedConnection) => void) {
    this.#handle = handle;
    this.#tcp = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  /** Resolves with the TCP port. Rejects with MqttPortInUse if another program listens there. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#tcp.once('error', (error: NodeJS.ErrnoException) =>
        reject(error.code === 'EADDRINUSE' ? new MqttPortInUse(host, port, error) : error),
      );
      this.#tcp.listen(port, host, () => {
        const address = this.#tcp.address();
        if (address === null || typeof address === 'string') reject(new Error('the MQTT listener has no port'));
        else resolve(address.port);
      });
    });
  }

  acceptWebSockets(server: HttpServer): void {
    this.#stopWebSockets.push(acceptWebSockets(server, (stream) => this.#accept(stream)));
  }

  /** Accepts no more connections. Resolves when the last one is closed; see disconnect(). */
  stopListening(): Promise<void> {
    for (const stop of this.#stopWebSockets) stop();
    return new Promise((resolve) => this.#tcp.close(() => resolve()));
  }

  disconnect(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  #accept(socket: Duplex): void {
    // A socket error without a listener would end the process.
    socket.on('error', () => socket.destroy());
    if (this.#connections.size >= MAX_CONNECTIONS) {
      socket.destroy();
      return;
    }
    const connection = new BoundedConnection(socket);
    this.#connections.add(connection);
    connection.once('close', () => this.#connections.delete(connection));
    this.#handle(connection);
  }
}
