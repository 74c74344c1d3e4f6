// A group's session at the MQTT broker keeps the group's messages under one client id. Two connections with the same id
// would disconnect each other forever, so a lock in the database decides which process connects.
import type { MqttClient } from 'mqtt';
import type { Logger } from 'pino';
import type { Database, Lock } from '../../database/port.ts';
import { type Connect, endConnection } from '../../mqtt/connect.ts';
import type { MqttPublisher } from '../../mqtt/port.ts';
import { within } from '../../runtime/promises.ts';
import { reasonOf } from '../../runtime/reason.ts';

export interface SessionOptions {
  /** Client id, and name of the lock. */
  readonly id: string;
  readonly topics: readonly string[];
  /** A topic that only this session subscribes to. */
  readonly probeTopic: string;
  /** Publishes probes; not over the session's own connection. */
  readonly publisher: Pick<MqttPublisher, 'publish'>;
  readonly connect: Connect;
  readonly database: Pick<Database, 'tryLock'>;
  readonly log: Logger;
}

/** Between pings. */
export const KEEPALIVE_SECONDS = 30;

export const connectSession = ({ id, connect }: SessionOptions): MqttClient =>
  connect({ clientId: id, clean: false, keepalive: KEEPALIVE_SECONDS });

export const subscribeSession = (client: MqttClient, { topics, probeTopic }: SessionOptions): Promise<unknown> =>
  client.subscribeAsync([...topics, probeTopic], { qos: 1 });

/** A lock that cannot be released is released when its database connection ends. */
export const releaseLock = (lock: Lock, { id, log }: SessionOptions): Promise<void> =>
  lock.release().catch((error) => log.debug({ session: id, reason: reasonOf(error) }, 'lock not released'));

/**
 * Creates the session and its subscriptions without receiving anything, so that the broker keeps events for a group that
 * has never run. Resolves without doing so if another process holds the session; rejects if the broker does not answer
 * within `timeoutMs`.
 */
export async function declareSession(options: SessionOptions, timeoutMs: number): Promise<void> {
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
    await within(timeoutMs, subscribed);
  } finally {
    await endConnection(client);
    await releaseLock(lock, options);
  }
}
