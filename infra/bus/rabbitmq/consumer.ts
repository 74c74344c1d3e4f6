// Consumes one queue in batches: the messages that arrive in one turn of the event loop. Batches are handled
// concurrently, and each is acknowledged when its handler has resolved. The prefetch limits the unacknowledged messages
// and, because a message may hold many events, the events that are handled at a time.
import type { Channel, ConsumeMessage } from 'amqplib';
import { PendingSet } from '../../runtime/collections.ts';
import type { Health } from '../../runtime/health.ts';
import type { IncomingMessage } from '../port.ts';
import { eventsIn } from './batch.ts';
import { type Connection, ReplyTimeout } from './connection.ts';
import { declareGroup } from './declare.ts';
import type { BusSettings } from './options.ts';
import { ResilientChannel } from './resilient-channel.ts';

const CONSUMER_TAG = 'sluice'; // has to be unique per channel, and each has one consumer

export interface QueueConsumerOptions extends BusSettings {
  readonly connection: Connection;
  readonly group: string;
  readonly queue: string;
  /** Resolves when the batch may be acknowledged. When it rejects, the batch is requeued. */
  readonly handle: (batch: readonly Delivery[]) => Promise<void>;
}

export interface Delivery {
  readonly message: ConsumeMessage;
  readonly events: readonly IncomingMessage[];
}

/** The deliveries of one channel: they can be acknowledged on this channel only, and not after it is closed. */
interface Session {
  readonly channel: Channel;
  /** Delivered and not yet passed to the handler. */
  readonly arrived: ConsumeMessage[];
  /** Batches that are being handled, in order of delivery. */
  readonly handling: Set<readonly Delivery[]>;
  /** Events that are being handled. */
  inProgress: number;
  open: boolean;
}

export class QueueConsumer {
  readonly #options: QueueConsumerOptions;
  readonly #channel: ResilientChannel<Channel>;
  readonly #running = new PendingSet();
  #session: Session | undefined;
  /** Events that are being handled, those of lost channels included. */
  #inProgress = 0;
  #closing: Promise<void> | undefined;

  constructor(options: QueueConsumerOptions) {
    const { connection, queue, log } = options;
    this.#options = options;
    this.#channel = new ResilientChannel({
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

  settled(): Promise<void> {
    return this.#channel.settled();
  }

  /** Consumes on a new channel, on which messages that are being handled are delivered again. */
  async rebuild(): Promise<void> {
    if (this.#closing) return;
    const session = this.#session;
    if (session && session.channel === this.#channel.current) session.open = false;
    await this.#channel.renew('rebuilding');
  }

  /**
   * Cancels the consumer, acknowledges the messages that are being handled, then closes the channel, which returns the
   * others to the queue. They are not handled first, because a prefetch of messages could outlast the deadline of a stop.
   */
  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  async #drain(): Promise<void> {
    this.#channel.retire();
    const session = this.#session;
    const cancelled = session?.open && (await this.#cancel(session));
    await this.#running.settled();
    if (session) session.open = false;
    const closing = this.#channel.close();
    if (cancelled) await closing; // a channel that hangs does not close either
  }

  /** Returns whether the broker replied. */
  async #cancel({ channel }: Session): Promise<boolean> {
    return this.#options.connection.withDeadline(channel.cancel(CONSUMER_TAG)).then(
      () => true,
      (error) => !(error instanceof ReplyTimeout), // a lost channel has no consumer either
    );
  }

  async #consume(channel: Channel, lose: (reason: string) => void): Promise<void> {
    const { topology, group, queue, deliveryLimit, prefetch } = this.#options;
    const session: Session = { channel, arrived: [], handling: new Set(), inProgress: 0, open: true };
    channel.on('close', () => {
      session.open = false;
      session.arrived.length = 0;
    });
    await declareGroup(channel, topology, group, deliveryLimit);
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

  /**
   * Of one channel, at most a prefetch of events is processed at a time. Handlers of lost channels may still run while
   * their messages are delivered again, so over all channels it is at most two prefetches, however often channels are
   * lost. Only the other events of the last message exceed these limits. Up to one prefetch of messages waits here.
   */
  #dispatch(session: Session): void {
    const { prefetch } = this.#options;
    const batch: Delivery[] = [];
    let events = 0;
    const hasRoom = () => session.inProgress + events < prefetch && this.#inProgress + events < 2 * prefetch;
    while (session.open && !this.#closing && hasRoom()) {
      const message = session.arrived.shift();
      if (!message) break;
      const delivery = { message, events: eventsIn(message) };
      batch.push(delivery);
      events += delivery.events.length;
    }
    if (batch.length === 0) return;
    session.handling.add(batch);
    session.inProgress += events;
    this.#inProgress += events;
    const run = this.#handle(session, batch).finally(() => {
      session.inProgress -= events;
      this.#inProgress -= events;
      if (this.#session) this.#dispatch(this.#session);
    });
    void this.#running.add(run);
  }

  async #handle(session: Session, batch: readonly Delivery[]): Promise<void> {
    const { queue, handle, log } = this.#options;
    let handled = true;
    try {
      await handle(batch);
    } catch (error) {
      handled = false;
      log.error({ err: error, queue, messages: batch.length }, 'batch not handled, requeueing it');
    }
    if (!session.open) return; // without its channel the batch cannot be acknowledged: it is delivered again
    try {
      settle(session, batch, handled);
    } catch (error) {
      log.debug({ err: error, queue }, 'not acknowledged: the connection is closing');
    }
  }
}

function settle({ channel, handling }: Session, batch: readonly Delivery[], handled: boolean): void {
  const [oldest] = handling;
  handling.delete(batch);
  const last = batch.at(-1);
  // Everything before the oldest batch is acknowledged already, so one frame acknowledges up to its end.
  if (handled && batch === oldest && last) channel.ack(last.message, true);
  else if (handled) for (const { message } of batch) channel.ack(message);
  else for (const { message } of batch) channel.reject(message, true);
}
