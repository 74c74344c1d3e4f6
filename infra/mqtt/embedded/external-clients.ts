// Connections to the embedded broker from outside its process, over TCP and WebSocket: limited in number and in what
// they may buffer, and closed with the broker.
import type { Server as HttpServer, IncomingMessage } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer } from 'ws';
import { MqttPortInUse } from '../../runtime/startup-error.ts';
import { BoundedConnection } from './bounded-connection.ts';

/** Connections at a time; more are rejected. */
const MAX_CONNECTIONS = 1_000;
const WEBSOCKET_PATH = '/mqtt';
/** The largest WebSocket frame from a client. Several MQTT packets may share one. */
const MAX_FRAME_BYTES = 64 * 1024;

export class ExternalClients {
  readonly #handle: (connection: BoundedConnection) => void;
  readonly #connections = new Set<BoundedConnection>();
  readonly #tcp = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    handleProtocols: (offered) => offered.has('mqtt') && 'mqtt',
  });
  readonly #stopUpgrades: (() => void)[] = [];

  /** `handle` is called with each accepted connection. */
  constructor(handle: (connection: BoundedConnection) => void) {
    this.#handle = handle;
  }

  /** Resolves with the TCP port. Rejects with MqttPortInUse if another program listens there. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#tcp.once('error', (error: NodeJS.ErrnoException) =>
        reject(error.code === 'EADDRINUSE' ? new MqttPortInUse(host, port, error) : error),
      );
      this.#tcp.listen(port, host, () => {
        resolve((this.#tcp.address() as AddressInfo).port);
      });
    });
  }

  /** Browsers let any site open a WebSocket to any server, so the Origin header is checked. */
  acceptWebSockets(server: HttpServer): void {
    const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (request.url?.split('?')[0] !== WEBSOCKET_PATH) {
        // Another listener, if there is one, handles other paths.
        if (server.listenerCount('upgrade') === 1) reject(socket, '404 Not Found');
      } else if (isSameOrigin(request)) {
        this.#webSockets.handleUpgrade(request, socket, head, (client) => this.#accept(createWebSocketStream(client)));
      } else {
        reject(socket, '403 Forbidden');
      }
    };
    server.on('upgrade', upgrade);
    this.#stopUpgrades.push(() => server.off('upgrade', upgrade));
  }

  /** Accepts no more connections. Resolves when the last one is closed; see disconnect(). */
  stopListening(): Promise<void> {
    for (const stop of this.#stopUpgrades) stop();
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

/** Programs send no Origin, browsers always do. */
function isSameOrigin({ headers: { origin, host } }: IncomingMessage): boolean {
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
}

function reject(socket: Duplex, status: string): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
