// A group's session at the MQTT broker: what waits there for the group lies under one client id, and two connections
// with one id would throw each other out for ever. So a lock in the database decides which process connects.
import { setTimeout as delay } from 'node:timers/promises';
import type { MqttClient } from 'mqtt';
import type { Logger } from 'pino';
import type { Database, Lock } from '../../database/port.ts';
import { type Connect, endConnection, reasonOf } from '../../mqtt/connect.ts';
import type { MqttPublisher } from '../../mqtt/port.ts';
import type { Health } from '../../runtime/health.ts';
import { deferred, within } from '../../runtime/promises.ts';
import type { Receiver, Subscription } from '../port.ts';
import { createIntake } from './intake.ts';

export interface SessionOptions {
  /** Client id, and name of the lock. */
  readonly id: string;
  readonly topics: readonly string[];
  /** A topic that is the session's alone, and how to publish on it: not by the session's own connection. */
  readonly probeTopic: string;
  readonly publisher: Pick<MqttPublisher, 'publish'>;
  readonly connect: Connect;
  readonly database: Pick<Database, 'tryLock'>;
  readonly log: Logger;
}

/** Seconds between pings. */
const KEEPALIVE = 30;
/** A batch that takes longer to store has its connection dropped, before the broker or mqtt.js would find it dead. */
const STALL_MS = (KEEPALIVE * 1000) / 2;
/** Pause before the lock is asked for again, and before a connection that was dropped for a stall is made again. */
const RETRY_MS = 1_000;
/** Another process holds the session. */
const STANDBY = 'standby';

export interface HeldSession extends Subscription {
  /** Resolves when the session exists at the broker: this process has subscribed, or another holds it. */
  readonly established: Promise<void>;
  /** Resolves when it is established or the first attempt has failed. */
  readonly attempted: Promise<void>;
}

/** Why a connection was given up. */
type End = 'closed' | 'lock lost' | 'rebuild' | 'stalled';

/** Holds the session for as long as this process has its lock, and stands by while another has it. */
export function holdSession(options: SessionOptions, receiver: Receiver): HeldSession {
  const { id, probeTopic, publisher, connect, database, log } = options;
  const closing = new AbortController();
  const closed = new Promise<End>((resolve) => {
    closing.signal.addEventListener('abort', () => resolve('closed'));
  });
  const established = deferred();
  const attempted = deferred();
  let state: Health = { status: 'down', detail: 'connecting' };
  /** What became of the last probe. One that was under way when the connection broke may have gone with the broker. */
  let probe: 'unknown' | 'under way' | 'arrived' = 'unknown';
  /** Gives up the connection there is. */
  let interrupt: (reason: End) => void = () => {};

  const stalled = (error?: unknown) => {
    if (error) log.error({ err: error, session: id }, 'received messages could not be stored');
    interrupt('stalled');
  };
  const intake = createIntake(receiver, STALL_MS, stalled, {
    topic: probeTopic,
    arrived: () => {
      probe = 'arrived';
    },
  });

  /** The reason that was last logged for being down: one line per outage is enough. */
  let trouble: string | undefined;
  function become(next: Health, cause?: unknown): void {
    const reason = cause === undefined ? next.detail : reasonOf(cause);
    if (next.status === 'down' && reason !== trouble)
      log.warn({ session: id, reason }, `MQTT session ${state.status === 'up' ? 'lost its connection' : 'is down'}`);
    trouble = next.status === 'down' ? reason : undefined;
    state = next;
    attempted.resolve();
    if (next.status === 'up') established.resolve();
  }

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      const lock = await takeLock();
      if (lock) await connectWhileLocked(lock);
      await pause();
    }
  }

  /** Ends early on close. */
  const pause = () => delay(RETRY_MS, undefined, { signal: closing.signal }).catch(() => {});

  async function takeLock(): Promise<Lock | undefined> {
    try {
      const lock = await database.tryLock(id);
      if (!lock) become({ status: 'up', detail: STANDBY });
      return lock;
    } catch (error) {
      become({ status: 'down', detail: 'no lock' }, error);
      return undefined;
    }
  }

  async function connectWhileLocked(lock: Lock): Promise<void> {
    const over = Promise.race([closed, lock.lost.then((): End => 'lock lost')]);
    // Ends when the session is closed or its lock is lost: both are in `over`, which every wait here is raced against.
    for (;;) {
      const end = await connectUntil(over);
      if (end !== 'closed') log.warn({ session: id, reason: end }, 'MQTT session interrupted');
      // To come back before the database can store again would only bring the same messages again.
      const next = end === 'stalled' ? await Promise.race([over, intake.idle().then(pause)]) : end;
      if (next === 'lock lost') return;
      if (next === 'closed') {
        await intake.idle();
        return free(lock, options);
      }
    }
  }

  async function connectUntil(over: Promise<End>): Promise<End> {
    state = { status: 'down', detail: 'connecting' };
    const client = connect({ clientId: id, clean: false, keepalive: KEEPALIVE });
    intake.attach(client);
    client.on('connect', () => void subscribe(client));
    client.on('error', (error) => become({ status: 'down', detail: 'no connection' }, error));
    client.on('close', () => {
      probe = 'unknown';
      if (state.status !== 'down') become({ status: 'down', detail: 'the connection broke' });
    });
    const end = await Promise.race([
      over,
      new Promise<End>((resolve) => {
        interrupt = resolve;
      }),
    ]);
    interrupt = () => {};
    state = { status: 'down', detail: end };
    intake.detach();
    if (end === 'closed') await intake.idle();
    await endConnection(client);
    return end;
  }

  async function subscribe(client: MqttClient): Promise<void> {
    try {
      await client.subscribeAsync(allTopics(options), { qos: 1 });
      become({ status: 'up' });
    } catch (error) {
      // Otherwise the connection broke, and subscribing comes again with the next.
      if (!client.connected) return;
      become({ status: 'degraded', detail: 'the broker rejected the subscription' });
      log.error({ err: error, session: id }, 'the MQTT broker rejected the subscription');
    }
  }

  /**
   * MQTT has no way to ask what waits. So a message of our own is put in the line now and then: until it has come
   * through, something waits.
   */
  async function backlog(): Promise<number | undefined> {
    if (state.status !== 'up') return undefined;
    if (state.detail === STANDBY) return 0;
    if (probe === 'under way') return 1;
    const last = probe;
    probe = 'under way';
    publisher.publish(probeTopic, '', { qos: 1 }).catch((error) => {
      log.debug({ session: id, reason: reasonOf(error) }, 'probe not published');
      probe = 'unknown';
    });
    return last === 'arrived' ? 0 : undefined;
  }

  const running = run();
  return {
    established: established.promise,
    attempted: attempted.promise,
    health: () => state,
    backlog,
    async rebuild() {
      interrupt('rebuild');
    },
    async close() {
      closing.abort();
      await running;
    },
  };
}

/**
 * Makes sure that the session and its subscriptions exist, without receiving anything, so that the broker keeps what
 * is published for a group that has never run. Resolves where another process holds the session; rejects when the
 * broker does not answer within `timeoutMs`.
 */
export async function declareSession(options: SessionOptions, timeoutMs: number): Promise<void> {
  const { id, connect, database } = options;
  const lock = await database.tryLock(id);
  if (!lock) return;
  const client = connect({ clientId: id, clean: false, keepalive: KEEPALIVE });
  try {
    // Messages that wait already are passed over without an acknowledgement and stay the session's.
    client.handleMessage = (_packet, next) => next(new Error('not received here'));
    const subscribed = new Promise((resolve, reject) => {
      client.on('close', () => reject(new Error('the broker is away')));
      client.on('connect', () => void client.subscribeAsync(allTopics(options), { qos: 1 }).then(resolve, reject));
    });
    await within(timeoutMs, subscribed);
  } finally {
    await endConnection(client);
    await free(lock, options);
  }
}

const allTopics = ({ topics, probeTopic }: SessionOptions) => [...topics, probeTopic];

/** A lock that cannot be released has been, or will be, by the end of its connection. */
const free = (lock: Lock, { id, log }: SessionOptions) =>
  lock.release().catch((error) => log.debug({ session: id, reason: reasonOf(error) }, 'lock not released'));
