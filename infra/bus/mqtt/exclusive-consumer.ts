// A group's session at the MQTT broker keeps the group's messages under one client id. Two connections with the same id
// would disconnect each other forever, so a lock in the database decides which process consumes the session; the others
// stand by.
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { MqttClient } from 'mqtt';
import type { Logger } from 'pino';
import type { Database, Lock } from '../../database/port.ts';
import { type Connect, endConnection } from '../../mqtt/connect.ts';
import { KEEPALIVE_SECONDS, type MqttPublisher } from '../../mqtt/port.ts';
import { publishedQos, SUBSCRIBED_QOS } from '../../mqtt/topics.ts';
import { ConnectionState, type Health } from '../../runtime/health.ts';
import { deferred, unlessAborted, within } from '../../runtime/promises.ts';
import { reasonOf } from '../../runtime/reason.ts';
import type { Receiver, Subscription } from '../port.ts';
import { InboundBuffer } from './inbound-buffer.ts';

export interface SessionOptions {
  /** Client id, and name of the lock. */
  readonly id: string;
  readonly topics: readonly string[];
  /** A topic that only this session subscribes to. */
  readonly probeTopic: string;
  /** Publishes probes; not over the session's own connection. */
  readonly publisher: Pick<MqttPublisher, 'publish'>;
  /** Opens its connection: connectTo(url) for an external broker, connectInternal of the embedded one. */
  readonly connect: Connect;
  readonly database: Pick<Database, 'tryLock'>;
  readonly log: Logger;
}

/**
 * A batch that takes longer to store has its connection ended. With a full buffer mqtt.js reads no further, so it would
 * miss the responses to its pings and take the connection for dead.
 */
const STALL_MS = (KEEPALIVE_SECONDS * 1000) / 2;
/** Pause before another attempt to get the lock, and before reconnecting after a stall. */
const RETRY_MS = 1_000;
/** Health detail while another process holds the session. */
const STANDBY = 'standby';

const FORGOTTEN =
  'the MQTT broker has forgotten the session, and the events that waited in it are delayed until they are resent: ' +
  'let it save its sessions (Mosquitto: persistence true, autosave_interval 1)';

/** Why a connection was ended. */
type EndReason = 'closed' | 'lock lost' | 'rebuild' | 'stalled';

export class ExclusiveConsumer implements Subscription {
  readonly #options: SessionOptions;
  readonly #buffer: InboundBuffer;
  readonly #state: ConnectionState;
  readonly #closing = new AbortController();
  readonly #closed = once(this.#closing.signal, 'abort').then((): EndReason => 'closed');
  readonly #established = deferred();
  readonly #attempted = deferred();
  /** Resolves when the session exists at the broker: this process has subscribed, or another process holds it. */
  readonly established = this.#established.promise;
  /** Resolves when it is established or the first attempt has failed. */
  readonly attempted = this.#attempted.promise;
  /** The state of the last probe. One that was pending when the connection broke may be lost with the broker. */
  #probe: 'unknown' | 'pending' | 'arrived' = 'unknown';
  /** Whether this process has subscribed, so that the broker must know the session from then on. */
  #isKept = false;
  /** Ends the current connection, if there is one. */
  #interrupt: (reason: EndReason) => void = () => {};
  #running: Promise<void> | undefined;

  constructor(options: SessionOptions, receiver: Receiver) {
    const { id, probeTopic, log } = options;
    this.#options = options;
    this.#state = new ConnectionState({ name: 'MQTT session', log, fields: () => ({ session: id }) });
    this.#buffer = new InboundBuffer({
      receiver,
      stallMs: STALL_MS,
      onStall: (error) => {
        if (error) log.error({ err: error, session: id }, 'received messages could not be stored');
        this.#interrupt('stalled');
      },
      probeTopic,
      onProbe: () => {
        this.#probe = 'arrived';
      },
    });
  }

  /** Consumes in the background. Resolves after close(). */
  start(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  health(): Health {
    return this.#state.health;
  }

  /**
   * MQTT offers no way to count waiting messages. So this publishes a probe to the session now and then: until the
   * probe arrives, at least one message waits.
   */
  async backlog(): Promise<number | undefined> {
    const { probeTopic, publisher, log, id } = this.#options;
    const { status, detail } = this.health();
    if (status !== 'up') return undefined;
    if (detail === STANDBY) return 0;
    if (this.#probe === 'pending') return 1;
    const last = this.#probe;
    this.#probe = 'pending';
    publisher.publish(probeTopic, '', { qos: publishedQos.probe }).catch((error) => {
      log.debug({ session: id, reason: reasonOf(error) }, 'probe not published');
      this.#probe = 'unknown';
    });
    return last === 'arrived' ? 0 : undefined;
  }

  async rebuild(): Promise<void> {
    this.#interrupt('rebuild');
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const lock = await this.#takeLock();
      if (lock) await this.#consumeWhileLocked(lock);
      await this.#pause();
    }
  }

  async #takeLock(): Promise<Lock | undefined> {
    try {
      const lock = await this.#options.database.tryLock(this.#options.id);
      if (!lock) this.#isUp(STANDBY);
      return lock;
    } catch (error) {
      this.#isDown('no lock', error);
      return undefined;
    }
  }

  /** Ends early on close. */
  #pause(): Promise<void> {
    return delay(RETRY_MS, undefined, { signal: this.#closing.signal }).catch(() => {});
  }

  async #consumeWhileLocked(lock: Lock): Promise<void> {
    const { log, id } = this.#options;
    const over = Promise.race([this.#closed, lock.lost.then((): EndReason => 'lock lost')]);
    // Every wait below is raced against `over`, so this loop ends when the consumer is closed or its lock is lost.
    for (;;) {
      const reason = await this.#consumeUntil(over);
      if (reason !== 'closed') log.warn({ session: id, reason }, 'MQTT session interrupted');
      // Before the database can store again, a new connection would only receive the same messages.
      const resume = () => this.#buffer.idle().then(() => this.#pause());
      const next = reason === 'stalled' ? await Promise.race([over, resume()]) : reason;
      if (next === 'lock lost') return;
      if (next === 'closed') {
        await this.#buffer.idle();
        return releaseLock(lock, this.#options);
      }
    }
  }

  async #consumeUntil(over: Promise<EndReason>): Promise<EndReason> {
    this.#state.reset('connecting');
    const client = connectSession(this.#options);
    this.#buffer.attach(client);
    client.on('connect', ({ sessionPresent }) => void this.#subscribe(client, sessionPresent));
    client.on('error', (error) => this.#isDown('no connection', error));
    client.on('close', () => {
      this.#probe = 'unknown';
      if (this.#state.health.status !== 'down') this.#isDown('the connection broke');
    });
    const interrupted = new Promise<EndReason>((resolve) => {
      this.#interrupt = resolve;
    });
    const reason = await Promise.race([over, interrupted]);
    this.#interrupt = () => {};
    this.#state.reset(reason);
    this.#buffer.detach();
    if (reason === 'closed') await this.#buffer.idle();
    await endConnection(client);
    return reason;
  }

  async #subscribe(client: MqttClient, sessionPresent: boolean): Promise<void> {
    try {
      await subscribeSession(client, this.#options);
      if (this.#isKept && !sessionPresent) this.#options.log.warn({ session: this.#options.id }, FORGOTTEN);
      this.#isKept = true;
      this.#isUp();
    } catch (error) {
      // If the connection broke, the next one subscribes again.
      if (!client.connected) return;
      this.#state.degraded('the broker rejected the subscription');
      this.#attempted.resolve();
      this.#options.log.error({ err: error, session: this.#options.id }, 'the MQTT broker rejected the subscription');
    }
  }

  #isUp(detail?: string): void {
    this.#state.up(detail);
    this.#established.resolve();
    this.#attempted.resolve();
  }

  #isDown(detail: string, error?: unknown): void {
    this.#state.down(detail, error);
    this.#attempted.resolve();
  }
}

const connectSession = ({ id, connect }: SessionOptions): MqttClient =>
  connect({ clientId: id, clean: false, keepalive: KEEPALIVE_SECONDS });

async function subscribeSession(client: MqttClient, { topics, probeTopic }: SessionOptions): Promise<void> {
  const granted = await client.subscribeAsync([...topics, probeTopic], { qos: SUBSCRIBED_QOS });
  if (granted.some(({ qos }) => qos === 0)) throw new Error('the broker delivers with QoS 0 only');
}

/** A lock that cannot be released is released when its database connection ends. */
const releaseLock = (lock: Lock, { id, log }: SessionOptions): Promise<void> =>
  lock.release().catch((error) => log.debug({ session: id, reason: reasonOf(error) }, 'lock not released'));

/**
 * Creates the session and its subscriptions without receiving anything, so that the broker keeps events for a group
 * that has never run. Resolves without doing so if another process holds the session; rejects if the broker does not
 * respond within `timeoutMs`, or when `stopping` aborts.
 */
export async function declareSession(options: SessionOptions, timeoutMs: number, stopping: AbortSignal): Promise<void> {
  const lock = await options.database.tryLock(options.id);
  if (!lock) return;
  const client = connectSession(options);
  try {
    // Messages that wait already are not acknowledged, so they stay in the session.
    client.handleMessage = (_packet, next) => next(new Error('not received here'));
    const subscribed = new Promise((resolve, reject) => {
      client.on('close', () => reject(new Error('the broker is away')));
      client.on('connect', () => void subscribeSession(client, options).then(resolve, reject));
    });
    await within(timeoutMs, unlessAborted(stopping, subscribed));
  } finally {
    await endConnection(client);
    await releaseLock(lock, options);
  }
}
