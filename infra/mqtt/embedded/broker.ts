// The MQTT broker inside the process, where MQTT_URL is not set: Aedes, over TCP and WebSocket, with its sessions on
// disk. What it stored survives kill -9 (not a power cut: LevelDB does not sync each write).
import type { EventEmitter } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import { Aedes, type AuthenticateError, type Client } from 'aedes';
import type { Logger } from 'pino';
import type { Connect } from '../connect.ts';
import type { MqttPublisher } from '../port.ts';
import { mayForward, maySubscribe, rejectionOf } from './access.ts';
import { createInsiders, type Insiders } from './inside.ts';
import { createOutsiders, listen, portOf } from './outsiders.ts';
import { createPublisher, MAX_UNDER_WAY } from './publisher.ts';
import { openStorage, type Storage } from './storage.ts';
import { acceptWebSockets } from './websocket.ts';

export interface EmbeddedBrokerOptions {
  readonly dataDir: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly prefix: string;
  readonly log: Logger;
}

export interface EmbeddedBroker {
  /** The TCP port it listens on. */
  readonly port: number;
  readonly publisher: MqttPublisher;
  /** A trusted client, over memory: it may subscribe to everything and keep a session. Whoever opens it ends it. */
  readonly connectInside: Connect;
  /** Accepts MQTT over WebSocket on /mqtt, from the server's own pages and from programs. */
  handleWebSocket(server: HttpServer): void;
  /** Stores what was published so far, disconnects everyone and frees the folder. Safe to call twice. */
  close(): Promise<void>;
}

/** A service that takes nothing for this long is disconnected; its session goes on collecting. */
const DRAIN_WITHIN_MS = 10_000;
/** What connects must say CONNECT within this. */
const CONNECT_WITHIN_MS = 10_000;
/** Packets that a client may send ahead of its CONNACK. */
const MAX_EARLY_PACKETS = 42;

/** Rejects with DataDirInUse or MqttPortInUse where another process is in the way. */
export async function startEmbeddedBroker(options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
  const { dataDir, host, port, prefix, log } = options;
  const storage = await openStorage(dataDir);
  const insiders: Insiders = createInsiders(() => broker);
  const broker = await createBroker(storage, insiders, prefix);
  // Not among Aedes's typed events, but emitted, and fatal without a listener.
  (broker as EventEmitter).on('error', (error: Error) => log.error({ err: error }, 'embedded MQTT broker'));
  broker.on('clientError', (client, error) => log.debug({ client: client.id, reason: error.message }, 'MQTT client'));
  broker.on('connectionError', (_client, error) => log.debug({ reason: error.message }, 'MQTT connection'));
  const closeBroker = async () => {
    await new Promise<void>((resolve) => broker.close(resolve));
    await storage.close();
  };

  const publisher = createPublisher(broker);
  // A process that was killed could not clear its presence.
  for await (const { topic } of storage.persistence.createRetainedStreamCombi([`${prefix}/services/#`])) {
    await publisher.publish(topic as string, '', { qos: 1, retain: true });
  }

  const outsiders = createOutsiders((connection) => broker.handle(connection));
  const server = await listen(host, port, outsiders.admit).catch(async (error) => {
    await closeBroker();
    throw error;
  });
  const stopWebSockets: (() => void)[] = [];

  async function close(): Promise<void> {
    for (const stop of stopWebSockets) stop();
    const stopped = new Promise((resolve) => server.close(resolve));
    await publisher.close();
    outsiders.disconnectAll();
    await closeBroker();
    await stopped;
  }
  let closing: Promise<void> | undefined;

  return {
    port: portOf(server),
    publisher,
    connectInside: insiders.connect,
    handleWebSocket(httpServer) {
      stopWebSockets.push(acceptWebSockets(httpServer, outsiders.admit));
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/** Aedes with the rules of access.ts; without them it grants everything to everyone. */
function createBroker({ persistence }: Storage, insiders: Insiders, prefix: string): Promise<Aedes> {
  const rejections = new WeakMap<Client, AuthenticateError>();
  return Aedes.createBroker({
    persistence,
    drainTimeout: DRAIN_WITHIN_MS,
    connectTimeout: CONNECT_WITHIN_MS,
    queueLimit: MAX_EARLY_PACKETS,
    // Messages under way at a time: those of QoS 0, the one in the serial queue, and the broker's own.
    concurrency: MAX_UNDER_WAY + 100,
    // The rejection waits for `authenticate`, whose answer the client gets to see.
    preConnect(client, packet, callback) {
      const rejection = insiders.include(client) ? undefined : rejectionOf(packet, prefix);
      if (rejection) rejections.set(client, rejection);
      callback(null, true);
    },
    authenticate(client, _username, _password, callback) {
      const rejection = rejections.get(client);
      callback(rejection ?? null, rejection === undefined);
    },
    // Services do not publish over connections, so nobody does.
    authorizePublish: (_client, _packet, callback) => callback(new Error('publishing is for the services')),
    authorizeSubscribe(client, subscription, callback) {
      callback(null, insiders.include(client) || maySubscribe(subscription.topic, prefix) ? subscription : null);
    },
    authorizeForward: (client, packet) => (mayForward(client, packet) ? packet : null),
  });
}
