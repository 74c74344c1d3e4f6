// The MQTT broker inside the process, for systems without MQTT_URL: Aedes, over TCP and WebSocket. Sessions and retained
// messages are stored in `<dataDir>/mqtt` and survive kill -9 (not a power cut: LevelDB does not sync each write).
import type { EventEmitter } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import type { Aedes } from 'aedes';
import createPersistence, { type LevelPersistence } from 'aedes-persistence-level';
import type { ClassicLevel } from 'classic-level';
import { type IClientOptions, MqttClient } from 'mqtt';
import type { Logger } from 'pino';
import { openLevel } from '../../runtime/data-dir.ts';
import { connectionDefaults } from '../connect.ts';
import { createAedes } from './aedes.ts';
import { ExternalClients } from './external-clients.ts';
import { EmbeddedPublisher } from './publisher.ts';

export class EmbeddedBroker {
  readonly publisher: EmbeddedPublisher;
  readonly #level: ClassicLevel<string, Buffer>;
  readonly #aedes: Aedes;
  readonly #externalClients: ExternalClients;
  #port = 0;
  #closing: Promise<void> | undefined;

  private constructor(level: ClassicLevel<string, Buffer>, aedes: Aedes) {
    this.#level = level;
    this.#aedes = aedes;
    this.#externalClients = new ExternalClients((connection) => aedes.handle(connection));
    this.publisher = new EmbeddedPublisher(aedes);
  }

  /**
   * Port 0 takes a free one. Rejects with DataDirInUse or MqttPortInUse if another process uses the folder or the port.
   */
  static async start(
    options: Record<'dataDir' | 'host' | 'prefix', string> & { readonly port: number; readonly log: Logger },
  ): Promise<EmbeddedBroker> {
    const { dataDir, host, port, prefix, log } = options;
    const level = await openLevel(dataDir, 'mqtt');
    // No Will is stored here (aedes.ts). Aedes deletes one at each CONNECT, and would leave the rejection of a delete on
    // a closed database unhandled.
    const persistence = Object.assign(createPersistence(level), { delWill: async () => undefined });
    const aedes = await createAedes(persistence, prefix);
    // Not among Aedes's typed events, but emitted, and fatal without a listener.
    (aedes as EventEmitter).on('error', (error: Error) => log.error({ err: error }, 'embedded MQTT broker'));
    aedes.on('clientError', (client, error) => log.debug({ client: client.id, reason: error.message }, 'MQTT client'));
    aedes.on('connectionError', (_client, error) => log.debug({ reason: error.message }, 'MQTT connection'));
    const broker = new EmbeddedBroker(level, aedes);
    try {
      await broker.#clearPresence(persistence, prefix);
      broker.#port = await broker.#externalClients.listen(host, port);
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
  readonly connectInternal = (options: IClientOptions): MqttClient =>
    // An error without a listener, such as a connection that ends, would be thrown.
    new MqttClient(() => this.#openStream(), { ...connectionDefaults, ...options }).on('error', () => {});

  /** Accepts MQTT over WebSocket on /mqtt, from the server's own pages and from programs. */
  acceptWebSockets(server: HttpServer): void {
    this.#externalClients.acceptWebSockets(server);
  }

  /** Stores pending publishes, disconnects all clients and releases the folder. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const stopped = this.#externalClients.stopListening();
    await this.publisher.close();
    this.#externalClients.disconnect();
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

  #openStream(): Duplex {
    const [ours, theirs] = duplexPair();
    ours.once('close', () => theirs.destroy());
    theirs.once('close', () => ours.destroy());
    if (this.#aedes.closed) ours.destroy();
    else this.#aedes.handle(theirs);
    return ours;
  }
}
