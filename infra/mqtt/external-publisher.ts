// Publishing to an external MQTT broker, on a connection that does nothing else: on one that also subscribes,
// acknowledgements would wait behind incoming messages.
import type { MqttClient } from 'mqtt';
import type { Logger } from 'pino';
import { PendingSet } from '../runtime/collections.ts';
import { ConnectionState, type Health } from '../runtime/health.ts';
import { deferred, within } from '../runtime/promises.ts';
import { publicReasonOf, reasonOf } from '../runtime/reason.ts';
import type { BrokerUse } from './broker-check.ts';
import { BrokerLimits } from './broker-limits.ts';
import { clientIdOf } from './client-ids.ts';
import { connectTo, endConnection } from './connect.ts';
import { BusError, type MqttPublisher, type PublishOptions } from './port.ts';

export interface ExternalPublisherOptions {
  readonly url: string;
  /** Of the client id. */
  readonly prefix: string;
  readonly log: Logger;
  /** What its broker is used for, and so checked for after connecting. Default: not checked. */
  readonly use?: BrokerUse;
  /** How long a QoS 1 or 2 publish may wait to be sent, and then for the broker's acknowledgement. */
  readonly publishTimeoutMs?: number;
  /** QoS 1 and 2 publishes, sent or waiting, at a time; more are rejected. */
  readonly maxPending?: number;
}

/**
 * QoS 1 and 2 publishes that the broker has not acknowledged, at a time. A client of MQTT 3.1.1 cannot ask a broker for
 * its limit, and Mosquitto disconnects a client that exceeds its max_inflight_messages, 20 by default.
 */
const MAX_IN_FLIGHT = 20;
/** QoS 0 messages are dropped while the socket holds this many bytes that the broker has not read. */
const MAX_UNSENT_BYTES = 1024 * 1024;
/** How long a publish may take once a stop has begun: it stays in the outbox. */
const STOP_TIMEOUT_MS = 500;
const NOT_CONNECTED = 'no connection to the MQTT broker';
const STOPPING = 'this process is stopping';

/** Connects in the background: a broker that is away shows in health(), never as an exception of the constructor. */
export class ExternalPublisher implements MqttPublisher {
  readonly #client: MqttClient;
  readonly #state: ConnectionState;
  readonly #options: Required<Omit<ExternalPublisherOptions, 'use'>>;
  readonly #limits: BrokerLimits | undefined;
  readonly #pending = new PendingSet();
  /** Publishes that wait for their turn, first come, first served. */
  readonly #waiting = new Map<() => void, (error: BusError) => void>();
  /** Publishes that have had their turn and have not settled. */
  #active = 0;
  /** How to fail each publish that the broker has not acknowledged. */
  readonly #inFlight = new Set<(error: BusError) => void>();
  /** When the broker last sent something. */
  #lastReceivedAt = 0;
  #interrupted = false;
  #closing: Promise<void> | undefined;

  constructor(options: ExternalPublisherOptions) {
    this.#options = { publishTimeoutMs: 5_000, maxPending: 1_000, ...options };
    this.#client = connectTo(options.url)({ clientId: clientIdOf(options.prefix, 'publisher'), clean: true });
    this.#state = new ConnectionState({ name: 'MQTT publisher', log: options.log });
    if (options.use) this.#limits = new BrokerLimits({ ...options, use: options.use });
    this.#client.on('connect', () => {
      this.#state.up();
      this.#limits?.check();
    });
    this.#client.on('packetreceive', () => {
      this.#lastReceivedAt = performance.now();
    });
    this.#client.on('error', (error) => this.#state.down(NOT_CONNECTED, error));
    this.#client.on('close', () => this.#disconnected());
  }

  async publish(topic: string, payload: string, options: PublishOptions): Promise<void> {
    if (options.qos === 0) {
      const drop = this.#closing || !this.#connected || this.#client.stream.writableLength > MAX_UNSENT_BYTES;
      if (!drop) this.#client.publish(topic, payload, options);
      return;
    }
    if (this.#closing) throw new BusError('unavailable', 'the MQTT publisher is closed');
    if (this.#interrupted) throw new BusError('unavailable', STOPPING);
    const { maxPending } = this.#options;
    if (this.#pending.size >= maxPending) throw new BusError('rejected', `${maxPending} publishes are pending`);
    await this.#pending.add(this.#publishInTurn(topic, payload, options));
  }

  health(): Health {
    const { health } = this.#state;
    const faults = this.#limits?.faults ?? [];
    if (health.status !== 'up' || faults.length === 0) return health;
    return { status: 'degraded', detail: publicReasonOf(`the broker has a limit: ${faults.join('; ')}`) };
  }

  interrupt(): void {
    const fail = () => {
      this.#interrupted = true;
      for (const each of [...this.#inFlight, ...this.#waiting.values()]) each(new BusError('unavailable', STOPPING));
    };
    setTimeout(fail, STOP_TIMEOUT_MS).unref();
    void this.#limits?.stop();
  }

  /** Waits for pending publishes, each of which settles within twice its timeout. */
  close(): Promise<void> {
    this.#closing ??= Promise.all([
      this.#pending.settled().then(() => endConnection(this.#client)),
      this.#limits?.stop(),
    ]).then(() => {});
    return this.#closing;
  }

  get #connected(): boolean {
    return this.#state.health.status === 'up';
  }

  #disconnected(): void {
    if (this.#closing) this.#state.reset('closed');
    else if (this.#connected) this.#state.down(NOT_CONNECTED, 'the connection broke');
    for (const fail of this.#inFlight) fail(new BusError('unavailable', 'the connection to the MQTT broker broke'));
  }

  async #publishInTurn(topic: string, payload: string, options: PublishOptions): Promise<void> {
    if (this.#active < MAX_IN_FLIGHT) this.#active++;
    else await this.#turn();
    try {
      await this.#publishAcknowledged(topic, payload, options);
    } finally {
      const [next] = this.#waiting.keys();
      if (next) next();
      else this.#active--;
    }
  }

  #turn(): Promise<void> {
    const { publishTimeoutMs } = this.#options;
    const { promise, resolve, reject } = deferred();
    const begin = () => {
      this.#waiting.delete(begin);
      resolve();
    };
    const fail = (error: BusError) => {
      this.#waiting.delete(begin);
      reject(error);
    };
    this.#waiting.set(begin, fail);
    return within(publishTimeoutMs, promise, () => {
      this.#waiting.delete(begin);
      return new BusError('unavailable', `not sent to the MQTT broker within ${publishTimeoutMs} ms`);
    });
  }

  async #publishAcknowledged(topic: string, payload: string, options: PublishOptions): Promise<void> {
    if (!this.#connected) throw new BusError('unavailable', `${NOT_CONNECTED}: ${this.#state.lastError}`);
    const { publishTimeoutMs } = this.#options;
    const client = this.#client;
    const { promise, resolve, reject } = deferred();
    const startedAt = performance.now();
    let messageId = 0;
    const fail = (error: BusError) => {
      reject(error);
      // mqtt.js would publish it again after a reconnect; that is for the caller to decide.
      client.removeOutgoingMessage(messageId);
    };
    client.publish(topic, payload, options, (error) =>
      error ? fail(new BusError('unavailable', `publish failed: ${reasonOf(error)}`, error)) : resolve(),
    );
    // mqtt.js counts ids up to 65,535 before it starts again, so a late acknowledgement meets no newer message.
    messageId = client.getLastMessageId();
    const timer = setTimeout(() => {
      fail(new BusError('unconfirmed', `the MQTT broker did not acknowledge within ${publishTimeoutMs} ms`));
      // A broker that has sent nothing since is unreachable over this connection; mqtt.js makes a new one.
      if (this.#lastReceivedAt < startedAt) client.stream.destroy();
    }, publishTimeoutMs);
    this.#inFlight.add(fail);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#inFlight.delete(fail);
    }
  }
}
