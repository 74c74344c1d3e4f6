// The MQTT broker inside the process, for systems without MQTT_URL: Aedes, over TCP or TLS, and WebSocket. Sessions and
// retained messages are stored in `<dataDir>/mqtt` and survive kill -9 (not a power cut: LevelDB does not sync each
// write).
import type { EventEmitter } from 'node:events';
import type { Server as HttpServer, IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import type { Aedes } from 'aedes';
import createPersistence, { type LevelPersistence } from 'aedes-persistence-level';
import type { ClassicLevel } from 'classic-level';
import { MqttClient } from 'mqtt';
import type { Logger } from 'pino';
import { createWebSocketStream, WebSocketServer } from 'ws';
import { networkOf, plainAddress } from '../../access/client-address.ts';
import type { TokenVerifier } from '../../access/tokens.ts';
import { openLevel } from '../../runtime/data-dir.ts';
import { HANDSHAKE_TIMEOUT_MS, Handshakes } from '../../runtime/handshakes.ts';
import type { ServerCertificate } from '../../runtime/server-certificate.ts';
import { MqttPortInUse, StartupError } from '../../runtime/startup-error.ts';
import { type ClientOptions, connectionDefaults } from '../connect.ts';
import { WEBSOCKET_PATH } from '../port.ts';
import { createAedes } from './aedes.ts';
import { BoundedConnection } from './bounded-connection.ts';
import { EmbeddedPublisher } from './publisher.ts';

/** Connections from outside the process at a time; more are rejected. */
const MAX_CONNECTIONS = 1_000;
/**
 * With tokens: connections from one network that have not presented a valid one yet. More are closed at once, so that one
 * client cannot take the places of all others.
 */
export const MAX_UNAUTHENTICATED = 100;
/** The largest WebSocket frame from a client. Several MQTT packets may share one. */
const MAX_FRAME_BYTES = 64 * 1024;

/**
 * Decides about a request for a WebSocket, which it may change: returns the address of its client, or undefined after it
 * has sent a rejection.
 */
export type AdmitUpgrade = (request: IncomingMessage, socket: Duplex) => string | undefined;

type BrokerOptions = Record<'dataDir' | 'host' | 'prefix', string> & {
  readonly port: number;
  readonly log: Logger;
  /** Undefined: clients from outside need no token. */
  readonly verifier?: TokenVerifier | undefined;
  /** With it, the port speaks TLS. */
  readonly certificate?: ServerCertificate | undefined;
};

export class EmbeddedBroker {
  readonly publisher: EmbeddedPublisher;
  readonly #level: ClassicLevel<string, Buffer>;
  readonly #aedes: Aedes;
  /** Connections of this process, to which the access rules do not apply. */
  readonly #internal: WeakSet<Duplex>;
  /** Undefined: clients from outside need no token. */
  readonly #verifier: TokenVerifier | undefined;
  /** Connections without a valid token so far, by network. */
  readonly #unauthenticated = new Map<string, number>();
  /** Connections from outside the process. */
  readonly #connections = new Set<BoundedConnection>();
  readonly #tcp: Server;
  /** Undefined without TLS. */
  readonly #handshakes: Handshakes | undefined;
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    handleProtocols: (offered) => offered.has('mqtt') && 'mqtt',
  });
  readonly #stopUpgrades: (() => void)[] = [];
  #port = 0;
  #closing: Promise<void> | undefined;

  private constructor(
    level: ClassicLevel<string, Buffer>,
    aedes: Aedes,
    internal: WeakSet<Duplex>,
    { verifier, certificate }: Pick<BrokerOptions, 'verifier' | 'certificate'>,
  ) {
    this.#verifier = verifier;
    this.#level = level;
    this.#aedes = aedes;
    this.#internal = internal;
    this.publisher = new EmbeddedPublisher(aedes);
    const accept = (socket: Socket) => this.#accept(socket, plainAddress(socket.remoteAddress));
    if (certificate) {
      const options = { ...certificate.options, handshakeTimeout: HANDSHAKE_TIMEOUT_MS, noDelay: true };
      const server = createTlsServer(options, accept);
      certificate.follow(server);
      this.#handshakes = new Handshakes(server);
      this.#tcp = server;
    } else this.#tcp = createServer({ noDelay: true }, accept);
  }

  /** Port 0: a free one. Rejects with DataDirInUse or MqttPortInUse if another process uses the folder or the port. */
  static async start(options: BrokerOptions): Promise<EmbeddedBroker> {
    const { dataDir, host, port, prefix, log, verifier } = options;
    const level = await openLevel(dataDir, 'mqtt');
    // No Will is stored here (aedes.ts). Aedes deletes one at each CONNECT, and would leave the rejection of a delete
    // on a closed database unhandled.
    const persistence = Object.assign(createPersistence(level), { delWill: async () => undefined });
    const internal = new WeakSet<Duplex>();
    const aedes = await createAedes({ persistence, prefix, internal, verifier });
    // Not among Aedes's typed events, but emitted, and fatal without a listener.
    (aedes as EventEmitter).on('error', (error: Error) => log.error({ err: error }, 'embedded MQTT broker'));
    aedes.on('clientError', (client, error) => log.debug({ client: client.id, reason: error.message }, 'MQTT client'));
    aedes.on('connectionError', (_client, error) => log.debug({ reason: error.message }, 'MQTT connection'));
    const broker = new EmbeddedBroker(level, aedes, internal, options);
    try {
      await broker.#clearPresence(persistence, prefix);
      await broker.#listen(host, port);
      return broker;
    } catch (error) {
      await broker.#closeAedes();
      throw error;
    }
  }

  /** The TCP port. */
  get port(): number {
    return this.#port;
  }

  /**
   * Connects a client of this process, over memory: it may subscribe to everything and keep a session. The caller ends
   * the connection.
   */
  readonly connectInternal = (options: ClientOptions): MqttClient =>
    // An error without a listener, such as a connection that ends, would be thrown.
    new MqttClient(() => this.#openStream(), { ...connectionDefaults, ...options }).on('error', () => {});

  /** The same for a client of another thread, over the stream that it opened. */
  acceptInternal(stream: Duplex): void {
    this.#internal.add(stream);
    if (this.#aedes.closed) stream.destroy();
    else this.#aedes.handle(stream);
  }

  /**
   * Accepts MQTT over WebSocket on /mqtt. Browsers let any site open a WebSocket to any server, so `admit` decides about
   * each request.
   */
  acceptWebSockets(server: HttpServer, admit: AdmitUpgrade): void {
    const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const address = admit(request, socket);
      if (address === undefined) return;
      if (request.url?.split('?')[0] !== WEBSOCKET_PATH) {
        // Another listener, if there is one, handles other paths.
        if (server.listenerCount('upgrade') === 1) reject(socket, '404 Not Found');
      } else {
        this.#webSockets.handleUpgrade(request, socket, head, (client) =>
          this.#accept(createWebSocketStream(client), address),
        );
      }
    };
    server.on('upgrade', upgrade);
    this.#stopUpgrades.push(() => server.off('upgrade', upgrade));
  }

  /** Stores pending publishes, disconnects all clients and releases the folder. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const stop of this.#stopUpgrades) stop();
    const stopped = new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
    await this.publisher.close();
    this.#handshakes?.end();
    for (const connection of this.#connections) connection.destroy();
    await this.#closeAedes();
    await stopped;
  }

  async #closeAedes(): Promise<void> {
    await new Promise<void>((resolve) => this.#aedes.close(resolve));
    await this.#level.close();
  }

  /** A process that was killed could not clear its presence. */
  async #clearPresence(persistence: LevelPersistence, prefix: string): Promise<void> {
    for await (const { topic } of persistence.createRetainedStreamCombi([`${prefix}/services/#`]))
      await this.publisher.publish(topic, '', { qos: 1, retain: true });
  }

  #listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#tcp.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
      this.#tcp.listen(port, host, () => {
        this.#port = (this.#tcp.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  #accept(socket: Duplex, address: string): void {
    // A socket error without a listener would end the process.
    socket.on('error', () => socket.destroy());
    if (this.#connections.size >= MAX_CONNECTIONS) {
      socket.destroy();
      return;
    }
    const connection = new BoundedConnection(socket, address);
    if (this.#verifier && !this.#countUnauthenticated(connection)) {
      connection.destroy();
      return;
    }
    this.#connections.add(connection);
    connection.once('close', () => this.#connections.delete(connection));
    this.#aedes.handle(connection);
  }

  /** Until it has presented a valid token or ends. False: there are too many from its network. */
  #countUnauthenticated(connection: BoundedConnection): boolean {
    const network = networkOf(connection.address);
    const change = (by: 1 | -1) => {
      const count = (this.#unauthenticated.get(network) ?? 0) + by;
      if (count === 0) this.#unauthenticated.delete(network);
      else this.#unauthenticated.set(network, count);
      return count;
    };
    if (change(1) > MAX_UNAUTHENTICATED) {
      change(-1);
      return false;
    }
    void connection.authenticated.then(() => change(-1));
    return true;
  }

  #openStream(): Duplex {
    const [ours, theirs] = duplexPair();
    ours.once('close', () => theirs.destroy());
    theirs.once('close', () => ours.destroy());
    this.acceptInternal(theirs);
    return ours;
  }
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): StartupError {
  if (error.code === 'EADDRINUSE') return new MqttPortInUse(host, port, error);
  const remedy = 'set them to an address and a port of this machine';
  const message = `cannot listen on HOST=${host}, MQTT_PORT=${port} (${error.message}): ${remedy}`;
  return new StartupError(message, { cause: error });
}

function reject(socket: Duplex, status: string): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
