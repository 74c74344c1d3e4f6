// What is asked of the broker, with a deadline each: while a queue has no leader, or a node is about to die, it may never
// answer, and says nothing.
import type { Channel, ChannelModel } from 'amqplib';
import type { Connection } from './connection.ts';

/** Declaring takes many answers, and a broker takes its time to make queues: so many times as long in all. */
const DECLARING_TIMES = 3;
/** Channels of a connection that the broker does not close; with more, the connection is replaced. */
const MAX_UNCLOSED = 100;

export class NoAnswer extends Error {}

export interface AnswerOptions {
  /** Default: the connection's answerTimeoutMs. */
  readonly withinMs?: number;
  /** Rejects with its reason when it aborts. */
  readonly signal?: AbortSignal;
}

/** Settles as `asked` does, or rejects with NoAnswer. A broker that reads nothing from a connection has its time. */
export function answerOf<T>(connection: Connection, asked: Promise<T>, options: AnswerOptions = {}): Promise<T> {
  const { withinMs = connection.answerTimeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      end();
      reject(error);
    };
    const deadline = setInterval(() => {
      if (!connection.blocked()) fail(new NoAnswer(`no answer within ${withinMs} ms`));
    }, withinMs);
    const aborted = () => fail(signal?.reason);
    signal?.addEventListener('abort', aborted);
    const end = () => {
      clearInterval(deadline);
      signal?.removeEventListener('abort', aborted);
    };
    asked.then((answer) => {
      end();
      resolve(answer);
    }, fail);
  });
}

/** How long what declares queues may take. */
export const declaringMs = ({ answerTimeoutMs }: Connection) => DECLARING_TIMES * answerTimeoutMs;

/** Opens a channel. A connection on which none opens in time is replaced. */
export async function openChannel<C extends Channel>(
  connection: Connection,
  open: (model: ChannelModel) => Promise<C>,
  signal?: AbortSignal,
): Promise<C> {
  const model = connection.model();
  if (!model) throw new Error('no connection to the broker');
  const opening = open(model);
  try {
    return await answerOf(connection, opening, signal ? { signal } : {});
  } catch (error) {
    if (error instanceof NoAnswer && connection.model() === model) connection.reset('no channel opens');
    opening.then(
      (late) => closeChannel(connection, late),
      () => undefined,
    );
    throw error;
  }
}

/**
 * Resolves once the channel is closed, by whatever, or when the broker does not close it in time: it is left behind then.
 * (channel.close() alone never returns when the connection ends.)
 */
export async function closeChannel(connection: Connection, channel: Channel): Promise<void> {
  const { unclosed } = connection;
  if (unclosed.has(channel)) return;
  unclosed.add(channel);
  const ended = new Promise<void>((resolve) => channel.once('close', () => resolve()));
  const asked = channel.close().catch(() => undefined); // it was closed already
  const closed = Promise.race([ended, asked]).finally(() => unclosed.delete(channel));
  if (unclosed.size > MAX_UNCLOSED) connection.reset(`${unclosed.size} channels do not close`);
  await answerOf(connection, closed).catch(() => undefined);
}
