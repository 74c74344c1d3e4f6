// Deadlines for requests to the broker: while a queue has no leader, or when a node is about to fail, a reply may never
// come.
import type { Channel, ChannelModel } from 'amqplib';
import type { Connection } from './connection.ts';

/** Channels that the broker does not close; with more, their connection is replaced. */
const MAX_UNCLOSED = 100;

export class ReplyTimeout extends Error {
  override readonly name = 'ReplyTimeout';
}

/**
 * Settles as `request` does, or rejects with ReplyTimeout, or with the signal's reason when it aborts. A blocked connection
 * prolongs the deadline.
 */
export function withDeadline<T>(
  connection: Connection,
  request: Promise<T>,
  { withinMs = connection.replyTimeoutMs, signal }: { withinMs?: number; signal?: AbortSignal } = {},
): Promise<T> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      end();
      reject(error);
    };
    const deadline = setInterval(() => {
      if (!connection.blocked) fail(new ReplyTimeout(`no reply within ${withinMs} ms`));
    }, withinMs);
    const aborted = () => fail(signal?.reason);
    signal?.addEventListener('abort', aborted);
    const end = () => {
      clearInterval(deadline);
      signal?.removeEventListener('abort', aborted);
    };
    request.then((reply) => {
      end();
      resolve(reply);
    }, fail);
  });
}

/** The deadline for declaring all queues, which takes many replies and is slow. */
export const declareTimeoutMs = ({ replyTimeoutMs }: Connection) => 3 * replyTimeoutMs;

/** Opens a channel. If it does not open in time, its connection is replaced. */
export async function openChannel<C extends Channel>(
  connection: Connection,
  open: (model: ChannelModel) => Promise<C>,
  signal?: AbortSignal,
): Promise<C> {
  const { model } = connection;
  if (!model) throw new Error('no connection to the broker');
  const opening = open(model);
  try {
    return await withDeadline(connection, opening, signal ? { signal } : {});
  } catch (error) {
    if (error instanceof ReplyTimeout && connection.model === model) connection.reset('no channel opens');
    opening.then(
      (late) => closeChannel(connection, late),
      () => undefined,
    );
    throw error;
  }
}

/**
 * Resolves when the channel is closed, or abandoned because the broker does not close it in time. (channel.close() alone
 * never settles when the connection ends.)
 */
export async function closeChannel(connection: Connection, channel: Channel): Promise<void> {
  const { unclosed } = connection;
  if (unclosed.has(channel)) return;
  unclosed.add(channel);
  const ended = new Promise<void>((resolve) => channel.once('close', () => resolve()));
  const requested = channel.close().catch(() => undefined); // it was closed already
  const closed = Promise.race([ended, requested]).finally(() => unclosed.delete(channel));
  if (unclosed.size > MAX_UNCLOSED) connection.reset(`${unclosed.size} channels do not close`);
  await withDeadline(connection, closed).catch(() => undefined);
}
