// Consumes one queue in batches. Messages that arrive in one turn of the event loop are handled together, batches
// concurrently, and each is acknowledged when its handler has resolved; the prefetch bounds what is in hand.
import type { Channel, ConsumeMessage } from 'amqplib';
import type { Logger } from 'pino';
import type { Health } from '../../runtime/health.ts';
import { KeptChannel } from './channel.ts';
import type { Connection } from './connection.ts';
import { answerOf, NoAnswer } from './deadlines.ts';

const CONSUMER_TAG = 'sluice'; // unique per channel, and there is one consumer on each

/** At the end there are few messages left to wait for, and a stop has its own deadline. */
const CANCEL_TIMEOUT_MS = 2_000;

export interface QueueConsumerOptions {
  readonly connection: Connection;
  readonly queue: string;
  /** Messages that the broker leaves unacknowledged at a time. */
  readonly prefetch: number;
  /** Declares the queue and what it needs, on every new channel. */
  readonly declare: (channel: Channel) => Promise<void>;
  /** Resolves when the batch may be acknowledged. When it rejects, the batch is requeued. */
  readonly handle: (batch: readonly ConsumeMessage[]) => Promise<void>;
  readonly log: Logger;
}

/** What was delivered on one channel: it can be acknowledged on this channel only, and not once it is closed. */
interface Session {
  readonly channel: Channel;
  /** Delivered and not yet given to the handler. */
  readonly arrived: ConsumeMessage[];
  /** Batches that are being handled, in order of delivery. */
  readonly handling: Set<readonly ConsumeMessage[]>;
  open: boolean;
}

export class QueueConsumer {
  readonly #options: QueueConsumerOptions;
  readonly #channel: KeptChannel<Channel>;
  readonly #running = new Set<Promise<void>>();
  #session: Session | undefined;
  /** Messages whose handler has not ended, of lost channels too. */
  #inHand = 0;
  #closing: Promise<void> | undefined;

  constructor(options: QueueConsumerOptions) {
    const { connection, queue, log } = options;
    this.#options = options;
    this.#channel = new KeptChannel({
      connection,
      name: queue,
      open: (model) => model.createChannel(),
      setUp: (channel, lose) => this.#consume(channel, lose),
      log,
    });
  }

  health(): Health {
    return this.#channel.health();
  }

  /** Resolves when the attempt under way to consume, if any, has succeeded or failed. */
  settled(): Promise<void> {
    return this.#channel.settled();
  }

  /** Leaves what is being handled to be delivered again, and consumes on a new channel. */
  async rebuild(): Promise<void> {
    if (this.#closing) return;
    const session = this.#session;
    if (session && session.channel === this.#channel.current) session.open = false;
    await this.#channel.renew('rebuilding');
  }

  /** Cancels, handles and acknowledges what was delivered before, then closes the channel. */
  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  async #drain(): Promise<void> {
    this.#channel.retire();
    const session = this.#session;
    const answered = session?.open && (await this.#cancel(session));
    if (session?.open) this.#dispatch(session);
    while (this.#running.size > 0) await Promise.all(this.#running);
    if (session) session.open = false;
    const closing = this.#channel.close();
    if (answered) await closing; // a channel that hangs does not close either
  }

  /** Answers whether the broker did. What it delivers until then is handled as well. */
  async #cancel({ channel }: Session): Promise<boolean> {
    const { connection } = this.#options;
    const withinMs = Math.min(CANCEL_TIMEOUT_MS, connection.answerTimeoutMs);
    return answerOf(connection, channel.cancel(CONSUMER_TAG), { withinMs }).then(
      () => true,
      (error) => !(error instanceof NoAnswer), // the channel is lost: cancelled too
    );
  }

  async #consume(channel: Channel, lose: (reason: string) => void): Promise<void> {
    const { queue, prefetch, declare } = this.#options;
    const session: Session = { channel, arrived: [], handling: new Set(), open: true };
    channel.on('close', () => {
      session.open = false;
      session.arrived.length = 0;
    });
    await declare(channel);
    await channel.prefetch(prefetch);
    this.#session = session;
    const receive = (message: ConsumeMessage | null) => {
      if (message) this.#receive(session, message);
      else lose('cancelled by the broker'); // the queue is gone; a new channel declares it
    };
    await channel.consume(queue, receive, { consumerTag: CONSUMER_TAG });
  }

  #receive(session: Session, message: ConsumeMessage): void {
    session.arrived.push(message);
    if (session.arrived.length === 1) setImmediate(() => this.#dispatch(session));
  }

  /** Handlers of lost channels may still run, on messages that are delivered again meanwhile. So the receiver has up to
   *  two prefetches in hand, and one more may wait here, however often channels are lost. */
  #dispatch(session: Session): void {
    const room = 2 * this.#options.prefetch - this.#inHand;
    if (!session.open || session.arrived.length === 0 || room <= 0) return;
    const batch = session.arrived.splice(0, room);
    session.handling.add(batch);
    this.#inHand += batch.length;
    const run = this.#handle(session, batch).finally(() => {
      this.#inHand -= batch.length;
      if (this.#session) this.#dispatch(this.#session);
      this.#running.delete(run);
    });
    this.#running.add(run);
  }

  async #handle(session: Session, batch: readonly ConsumeMessage[]): Promise<void> {
    const { queue, handle, log } = this.#options;
    let handled = true;
    try {
      await handle(batch);
    } catch (error) {
      handled = false;
      log.error({ err: error, queue, messages: batch.length }, 'batch not handled, requeueing it');
    }
    if (!session.open) return; // its channel is gone, and with it the right to acknowledge: it is delivered again
    try {
      settle(session, batch, handled);
    } catch (error) {
      log.debug({ err: error, queue }, 'not acknowledged: the connection is closing');
    }
  }
}

function settle({ channel, handling }: Session, batch: readonly ConsumeMessage[], handled: boolean): void {
  const [oldest] = handling;
  handling.delete(batch);
  const last = batch.at(-1);
  // What was delivered before the oldest batch is settled, so one frame acknowledges up to its end.
  if (handled && batch === oldest && last) channel.ack(last, true);
  else if (handled) for (const message of batch) channel.ack(message);
  else for (const message of batch) channel.reject(message, true);
}
