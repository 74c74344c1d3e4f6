// The MQTT broker inside the process, where MQTT_URL is not set: Aedes, over TCP and WebSocket, with its sessions on
// disk in `<dataDir>/mqtt`. What it stored survives kill -9 (not a power cut: LevelDB does not sync each write).
import type { EventEmitter } from 'node:events';
import { mkdir } from 'node:fs/promises';
import type { Server as HttpServer } from 'node:http';
import { createServer, type Server as TcpServer } from 'node:net';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { Aedes, type AuthenticateError, type Client } from 'aedes';
import createPersistence from 'aedes-persistence-level';
import { ClassicLevel } from 'classic-level';
import { MqttClient } from 'mqtt';
import type { Logger } from 'pino';
import { type Connect, connectionDefaults } from '../mqtt/connect.ts';
import type { MqttPublisher } from '../mqtt/port.ts';
import { mayForward, maySubscribe, refusalOf } from './access.ts';
import { BoundedConnection } from './bounded-connection.ts';
import { DataDirInUse, MqttPortInUse } from './errors.ts';
import { createPublisher, MAX_UNDER_WAY } from './publisher.ts';
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

/** Connections from outside at a time; more are turned away. */
const MAX_OUTSIDERS = 1_000;
/** A service that takes nothing for this long is disconnected; its session goes on collecting. */
const DRAIN_WITHIN_MS = 10_000;

/** Rejects with DataDirInUse or MqttPortInUse where another process is in the way. */
export async function startEmbeddedBroker(options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
  const { dataDir, host, port, prefix, log } = options;
  const db = await openLevel(dataDir);
  const persistence = createPersistence(db);
  const outsiders = new Set<BoundedConnection>();
  const trusted = new WeakSet<Client>();
  const refusals = new WeakMap<Client, AuthenticateError>();

  const broker = await Aedes.createBroker({
    persistence,
    drainTimeout: DRAIN_WITHIN_MS,
    // Messages under way at a time: those of QoS 0, the one in the serial queue, and the broker's own.
    concurrency: MAX_UNDER_WAY + 100,
    connectTimeout: 10_000,
    maxInflightInbound: 10,
    queueLimit: 42,
    preConnect(client, packet, callback) {
      const refusal = trusted.has(client) ? undefined : refusalOf(packet, prefix);
      if (refusal) refusals.set(client, refusal);
      callback(null, true);
    },
    authenticate(client, _username, _password, callback) {
      const refusal = refusals.get(client);
      callback(refusal ?? null, refusal === undefined);
    },
    // Services do not publish over connections, so nobody does.
    authorizePublish: (_client, _packet, callback) => callback(new Error('publishing is for the services')),
    authorizeSubscribe(client, subscription, callback) {
      callback(null, trusted.has(client) || maySubscribe(subscription.topic, prefix) ? subscription : null);
    },
    authorizeForward: (client, packet) => (mayForward(client, packet) ? packet : null),
  });
  // Not among Aedes's typed events, but emitted, and fatal without a listener.
  (broker as EventEmitter).on('error', (error: Error) => log.error({ err: error }, 'embedded MQTT broker'));
  broker.on('clientError', (client, error) => log.debug({ client: client.id, reason: error.message }, 'MQTT client'));
  broker.on('connectionError', (_client, error) => log.debug({ reason: error.message }, 'MQTT connection'));

  const publisher = createPublisher(broker);
  // A process that was killed could not clear its presence.
  for await (const { topic } of persistence.createRetainedStreamCombi([`${prefix}/services/#`])) {
    await publisher.publish(topic as string, '', { qos: 1, retain: true });
  }

  function admit(socket: Duplex): BoundedConnection | undefined {
    // A socket without a listener for its errors would end the process.
    socket.on('error', () => socket.destroy());
    if (outsiders.size >= MAX_OUTSIDERS) {
      socket.destroy();
      return undefined;
    }
    const connection = new BoundedConnection(socket);
    outsiders.add(connection);
    connection.once('close', () => outsiders.delete(connection));
    return connection;
  }
  function welcome(socket: Duplex): void {
    const connection = admit(socket);
    if (connection) broker.handle(connection);
  }
  const tcp = createServer({ noDelay: true }, welcome);
  await listen(tcp, host, port).catch(async (error) => {
    await closeBroker(broker, db);
    throw (error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? new MqttPortInUse(host, port, error) : error;
  });

  const stopWebSockets: (() => void)[] = [];
  let closing: Promise<void> | undefined;

  async function close(): Promise<void> {
    for (const stop of stopWebSockets) stop();
    const stopped = new Promise((resolve) => tcp.close(resolve));
    await publisher.close();
    for (const connection of outsiders) connection.destroy();
    await closeBroker(broker, db);
    await stopped;
  }

  return {
    port: portOf(tcp),
    publisher,
    connectInside: (clientOptions) =>
      new MqttClient(
        () => {
          const [ours, theirs] = duplexPair();
          ours.once('close', () => theirs.destroy());
          theirs.once('close', () => ours.destroy());
          if (broker.closed) ours.destroy();
          else trusted.add(broker.handle(theirs));
          return ours;
        },
        { ...connectionDefaults, ...clientOptions },
      ).on('error', () => {}),
    handleWebSocket(server) {
      stopWebSockets.push(acceptWebSockets(server, welcome));
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

async function openLevel(dataDir: string): Promise<ClassicLevel<string, Buffer>> {
  const folder = join(dataDir, 'mqtt');
  await mkdir(folder, { recursive: true });
  const db = new ClassicLevel<string, Buffer>(folder, { valueEncoding: 'buffer' });
  try {
    await db.open();
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } };
    throw cause?.code === 'LEVEL_LOCKED' ? new DataDirInUse(dataDir, error) : error;
  }
  return db;
}

const listen = (server: TcpServer, host: string, port: number) =>
  new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });

function portOf(server: TcpServer): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the MQTT listener has no port');
  return address.port;
}

async function closeBroker(broker: Aedes, db: ClassicLevel<string, Buffer>): Promise<void> {
  await new Promise<void>((resolve) => broker.close(resolve));
  await db.close();
}
