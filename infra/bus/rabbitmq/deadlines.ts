// A deadline for each request to the broker: while a queue has no leader, or a node is about to fail, the broker may never
// reply.
import type { Channel, ChannelModel } from 'amqplib';
import type { Connection } from './connection.ts';

/** Declaring needs many replies, and creating queues is slow: the deadline for all of it, in answerTimeoutMs. */
const DECLARE_TIMEOUTS = 3;
/** Channels that the broker does not close; beyond this number their connection is replaced. */
const MAX_UNCLOSED = 100;

export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

interface AnswerOptions {
  /** Default: the connection's answerTimeoutMs. */
  readonly withinMs?: number;
  /** Rejects with its reason when it aborts. */
  readonly signal?: AbortSignal;
}

/** Settles as `request` does, or rejects with NoAnswer. While the broker blocks the connection, the deadline waits. */
export function answerOf<T>(connection: Connection, request: Promise<T>, options: AnswerOptions = {}): Promise<T> {
  const { withinMs = connection.answerTimeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      end();
      reject(error);
    };
    const deadline = setInterval(() => {
      if (!connection.blocked) fail(new NoAnswer(`no answer within ${withinMs} ms`));
    }, withinMs);
    const aborted = () => fail(signal?.reason);
    signal?.addEventListener('abort', aborted);
    const end = () => {
      clearInterval(deadline);
      signal?.removeEventListener('abort', aborted);
    };
    request.then((answer) => {
      end();
      resolve(answer);
    }, fail);
  });
}

/** The deadline for declaring queues. */
export const declareTimeoutMs = ({ answerTimeoutMs }: Connection) => DECLARE_TIMEOUTS * answerTimeoutMs;

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
    return await answerOf(connection, opening, signal ? { signal } : {});
  } catch (error) {
    if (error instanceof NoAnswer && connection.model === model) connection.reset('no channel opens');
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
  await answerOf(connection, closed).catch(() => undefined);
}
