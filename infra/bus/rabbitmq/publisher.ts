// Publishing with confirms. The events of all publish() calls are sent in order of arrival, through one window of
// unconfirmed messages: at most `maxUnconfirmed` of at most MAX_EVENT_BYTES each are in memory, here or in the socket.
import type { ConfirmChannel } from 'amqplib';
import type { Logger } from 'pino';
import { BusError } from '../../mqtt/port.ts';
import type { Health } from '../../runtime/health.ts';
import { PendingSet } from '../../runtime/pending-set.ts';
import type { OutgoingEvent, Rejected } from '../port.ts';
import { EVENT_CONTENT_TYPE } from '../port.ts';
import { Batch } from './batch.ts';
import type { Connection } from './connection.ts';
import { declareTimeoutMs, withDeadline } from './deadlines.ts';
import { ResilientChannel } from './resilient-channel.ts';

/** An older topology is declared again before the next event: a binding that is missing for only one of an event's groups
 *  causes no return. */
const DECLARATION_MAX_AGE_MS = 30_000;
/**
 * After a rejected event the channel is replaced, at most this often. In RabbitMQ 3.10, a channel whose first event for a
 * quorum queue comes right after a node has failed goes on using that node: it rejects every event for the queue while the
 * node is away, although the queue has a new leader. (4.0 tries each node.)
 */
const REPLACE_CHANNEL_EVERY_MS = 1_000;

export interface PublisherOptions {
  /** Not shared: the publisher closes it. */
  readonly connection: Connection;
  readonly exchange: string;
  /** Declares the exchange and every group's queues. */
  readonly declare: (channel: ConfirmChannel) => Promise<void>;
  readonly confirmTimeoutMs: number;
  readonly maxUnconfirmed: number;
  readonly log: Logger;
}

/** A message that is not confirmed yet. */
interface InFlight {
  readonly batch: Batch;
  readonly id: string;
  readonly sentAt: number;
  returned: boolean;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #channel: ResilientChannel<ConfirmChannel>;
  readonly #stopWatching: () => void;
  /** Both in order of time: the first is the oldest. */
  readonly #waiting: Batch[] = [];
  readonly #inFlight = new Set<InFlight>();
  readonly #publishing = new PendingSet();
  #deadline: NodeJS.Timeout | undefined;
  #declaredAt = Number.NEGATIVE_INFINITY;
  /** The channel on which the topology is being declared. */
  #declaring: ConfirmChannel | undefined;
  /** Whether this channel has rejected an event. */
  #rejected = false;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #closing: Promise<void> | undefined;

  constructor(options: PublisherOptions) {
    const { connection, log } = options;
    this.#options = options;
    this.#channel = new ResilientChannel({
      connection,
      name: 'publisher',
      open: (model) => model.createConfirmChannel(),
      setUp: async (channel) => {
        channel.on('return', (message) => this.#returned(message.properties.messageId));
        await this.#declare(channel);
      },
      onReady: () => this.#pump(),
      log,
    });
    this.#stopWatching = connection.onChange(() => this.#pump());
  }

  health(): Health {
    return this.#channel.health();
  }

  /** Resolves within twice `confirmTimeoutMs`: the limit for an event to be sent, and again for its confirm. */
  publish(events: readonly OutgoingEvent[]): Promise<Rejected[]> {
    const batch = new Batch(events);
    if (this.#closing) batch.rejectRest(new BusError('unavailable', 'the bus is closed'));
    if (batch.allTaken) return batch.outcome;
    this.#waiting.push(batch);
    this.#pump();
    return this.#publishing.add(batch.outcome);
  }

  /** Waits for pending publishes, then closes the connection. */
  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  async #drain(): Promise<void> {
    await this.#publishing.settled();
    clearTimeout(this.#deadline);
    this.#stopWatching();
    this.#channel.retire();
    await this.#options.connection.close();
  }

  /** Sends waiting events while the window has room. */
  #pump(): void {
    const channel = this.#usableChannel();
    while (channel && this.#inFlight.size < this.#options.maxUnconfirmed) {
      const batch = this.#waiting[0];
      const event = batch?.takeNext();
      if (!batch || !event) break;
      if (batch.allTaken) this.#waiting.shift();
      this.#send(channel, batch, event);
    }
    this.#watchDeadline();
  }

  #usableChannel(): ConfirmChannel | undefined {
    const channel = this.#channel.current;
    const { connection } = this.#options;
    // While blocked, the broker reads nothing: events would only pile up in the socket.
    if (!channel || this.#waiting.length === 0 || this.#declaring === channel || connection.blocked) return;
    if (this.#rejected && performance.now() - this.#renewedAt > REPLACE_CHANNEL_EVERY_MS) {
      // Not before every event in flight has its outcome; the last outcome calls #pump() again.
      if (this.#inFlight.size === 0) this.#renewAfterRejection();
      return;
    }
    if (performance.now() - this.#declaredAt < DECLARATION_MAX_AGE_MS) return channel;
    withDeadline(connection, this.#declare(channel), { withinMs: declareTimeoutMs(connection) })
      .catch((error: unknown) => this.#channel.renew(String(error)))
      .finally(() => this.#pump());
    return;
  }

  #renewAfterRejection(): void {
    this.#rejected = false;
    this.#renewedAt = performance.now();
    void this.#channel.renew('the broker rejected an event');
  }

  async #declare(channel: ConfirmChannel): Promise<void> {
    this.#declaring = channel;
    try {
      await this.#options.declare(channel);
      this.#declaredAt = performance.now();
    } finally {
      if (this.#declaring === channel) this.#declaring = undefined;
    }
  }

  #send(channel: ConfirmChannel, batch: Batch, { id, type, body }: OutgoingEvent): void {
    const flight: InFlight = { batch, id, sentAt: performance.now(), returned: false };
    this.#inFlight.add(flight);
    const properties = { persistent: true, mandatory: true, contentType: EVENT_CONTENT_TYPE, messageId: id };
    try {
      channel.publish(this.#options.exchange, type, Buffer.from(body), properties, (fault: unknown) => {
        // A late confirm, after the event has timed out.
        if (!this.#inFlight.delete(flight)) return;
        batch.settle(id, this.#errorOf(flight, channel, fault));
        this.#pump();
      });
    } catch (cause) {
      this.#inFlight.delete(flight);
      batch.settle(id, new BusError('unavailable', 'not sent', cause));
    }
  }

  #errorOf(flight: InFlight, channel: ConfirmChannel, fault: unknown): BusError | undefined {
    if (fault && this.#channel.current === channel) {
      this.#rejected = true;
      return new BusError('rejected', 'the broker rejected the event', fault);
    }
    if (fault) return new BusError('unavailable', `no confirm: ${this.health().detail ?? 'channel closed'}`, fault);
    if (flight.returned)
      return new BusError('unroutable', `no queue is bound to ${this.#options.exchange} for this event`);
    return undefined;
  }

  /** A return comes before the confirm. The next event declares the missing queue or binding again. */
  #returned(id: unknown): void {
    for (const flight of this.#inFlight) if (flight.id === id) flight.returned = true;
    this.#declaredAt = Number.NEGATIVE_INFINITY;
  }

  /** One timer for all, because the oldest message or batch is due first. */
  #watchDeadline(): void {
    if (this.#deadline) return;
    const [oldest] = this.#inFlight;
    const since = Math.min(
      oldest?.sentAt ?? Number.POSITIVE_INFINITY,
      this.#waiting[0]?.since ?? Number.POSITIVE_INFINITY,
    );
    if (since === Number.POSITIVE_INFINITY) return;
    const dueAt = since + this.#options.confirmTimeoutMs;
    this.#deadline = setTimeout(
      () => {
        this.#deadline = undefined;
        this.#expire(performance.now() - this.#options.confirmTimeoutMs);
        this.#watchDeadline();
      },
      Math.ceil(dueAt - performance.now()),
    );
  }

  /** Rejects events that have been unconfirmed or waiting since `limit` or longer. */
  #expire(limit: number): void {
    const { confirmTimeoutMs } = this.#options;
    const [oldest] = this.#inFlight;
    if (oldest && oldest.sentAt <= limit) {
      // The state of this channel's other messages is unknown, so all of them are rejected.
      const unconfirmed = new BusError('unconfirmed', `no confirm within ${confirmTimeoutMs} ms`);
      const unsettled = [...this.#inFlight];
      this.#inFlight.clear();
      void this.#channel.renew(unconfirmed.message);
      for (const { batch, id } of unsettled) batch.settle(id, unconfirmed);
    }
    for (let batch = this.#waiting[0]; batch && batch.since <= limit; batch = this.#waiting[0]) {
      this.#waiting.shift();
      const { detail = 'too many events are unconfirmed' } = this.health();
      batch.rejectRest(new BusError('unavailable', `not sent within ${confirmTimeoutMs} ms: ${detail}`));
    }
  }
}
