// Publishing with confirms. The events of all publish() calls go out in order of arrival, through one window of
// unconfirmed messages: at most `maxUnconfirmed` of at most MAX_EVENT_BYTES each are in memory, here or in the socket.
import type { ConfirmChannel } from 'amqplib';
import type { Logger } from 'pino';
import { BusError } from '../../mqtt/bus-error.ts';
import type { Health } from '../../runtime/health.ts';
import type { OutgoingEvent, Rejected } from '../port.ts';
import { EVENT_CONTENT_TYPE } from '../port.ts';
import { exchangeOf, type Topology } from '../topology.ts';
import { Batch } from './batch.ts';
import { KeptChannel } from './channel.ts';
import type { Connection } from './connection.ts';
import { answerOf, declaringMs } from './deadlines.ts';
import { declareTopology } from './declare.ts';

/** Older than this, and the topology is declared again before the next event: a binding that is missing for one of an
 *  event's groups causes no return. */
const DECLARATION_MAX_AGE_MS = 30_000;
/**
 * A channel that was rejected an event is replaced, at most this often. In RabbitMQ 3.10 one whose first event for a quorum
 * queue comes right after a node has died goes on asking that node: it rejects every event for the queue while the node is
 * away, though the queue has a new leader. (4.0 asks each node.)
 */
const REJECTED_CHANNEL_AGE_MS = 1_000;

export interface PublisherOptions {
  /** The publisher's own. */
  readonly connection: Connection;
  readonly topology: Topology;
  readonly deliveryLimit: number;
  readonly confirmTimeoutMs: number;
  readonly maxUnconfirmed: number;
  readonly log: Logger;
}

/** A message without a confirm. */
interface InFlight {
  readonly batch: Batch;
  readonly id: string;
  readonly sentAt: number;
  returned: boolean;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #exchange: string;
  readonly #channel: KeptChannel<ConfirmChannel>;
  readonly #endWatch: () => void;
  /** Both in order of time, so the first is the oldest. */
  readonly #waiting: Batch[] = [];
  readonly #inFlight = new Set<InFlight>();
  readonly #running = new Set<Promise<Rejected[]>>();
  #deadline: NodeJS.Timeout | undefined;
  #declaredAt = Number.NEGATIVE_INFINITY;
  /** The channel on which the topology is being declared. */
  #declaring: ConfirmChannel | undefined;
  #rejected = false;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #closing: Promise<void> | undefined;

  constructor(options: PublisherOptions) {
    const { connection, topology, log } = options;
    this.#options = options;
    this.#exchange = exchangeOf(topology);
    this.#channel = new KeptChannel({
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
    this.#endWatch = connection.onChange(() => this.#pump());
  }

  health(): Health {
    return this.#channel.health();
  }

  /** Answers within twice `confirmTimeoutMs`: that long an event waits to be sent, and that long for its confirm. */
  publish(events: readonly OutgoingEvent[]): Promise<Rejected[]> {
    const batch = new Batch(events);
    if (this.#closing) batch.rejectRest(new BusError('unavailable', 'the bus is closed'));
    if (batch.allTaken) return batch.outcome;
    this.#waiting.push(batch);
    this.#running.add(batch.outcome);
    void batch.outcome.then(() => this.#running.delete(batch.outcome));
    this.#pump();
    return batch.outcome;
  }

  /** Waits for publishes under way, then closes the connection. */
  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  async #drain(): Promise<void> {
    await Promise.all(this.#running);
    clearTimeout(this.#deadline);
    this.#endWatch();
    this.#channel.retire();
    await this.#options.connection.close();
  }

  /** Sends what waits, as far as the window goes. */
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
    // While blocked, the broker reads nothing: what is sent would only pile up in the socket.
    if (!channel || this.#waiting.length === 0 || this.#declaring === channel || this.#options.connection.blocked())
      return;
    if (this.#rejected && performance.now() - this.#renewedAt > REJECTED_CHANNEL_AGE_MS) {
      // Once everything that is under way has its outcome; the last one comes back here.
      if (this.#inFlight.size === 0) this.#renewAfterRejection();
      return;
    }
    if (performance.now() - this.#declaredAt < DECLARATION_MAX_AGE_MS) return channel;
    const { connection } = this.#options;
    answerOf(connection, this.#declare(channel), { withinMs: declaringMs(connection) })
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
    const { topology, deliveryLimit } = this.#options;
    this.#declaring = channel;
    try {
      await declareTopology(channel, topology, deliveryLimit);
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
      channel.publish(this.#exchange, type, Buffer.from(body), properties, (fault: unknown) => {
        // A late confirm: its outcome was given when it timed out.
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
      return new BusError('rejected', 'the broker rejected it', fault);
    }
    if (fault) return new BusError('unavailable', `no confirm: ${this.health().detail ?? 'channel closed'}`, fault);
    if (flight.returned) return new BusError('unroutable', `no queue is bound for it to ${this.#exchange}`);
    return undefined;
  }

  /** Comes before the confirm. Whatever is missing, the next event declares it again. */
  #returned(id: unknown): void {
    for (const flight of this.#inFlight) if (flight.id === id) flight.returned = true;
    this.#declaredAt = Number.NEGATIVE_INFINITY;
  }

  /** One timer for all: the oldest message or batch is due first. */
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

  /** Gives up on what has been unconfirmed or waiting since `limit` or longer. */
  #expire(limit: number): void {
    const { confirmTimeoutMs } = this.#options;
    const [oldest] = this.#inFlight;
    if (oldest && oldest.sentAt <= limit) {
      // Nobody knows what this channel still delivers or confirms, so none of its messages is waited for.
      const unconfirmed = new BusError('unconfirmed', `no confirm within ${confirmTimeoutMs} ms`);
      const given = [...this.#inFlight];
      this.#inFlight.clear();
      void this.#channel.renew(unconfirmed.message);
      for (const { batch, id } of given) batch.settle(id, unconfirmed);
    }
    for (let batch = this.#waiting[0]; batch && batch.since <= limit; batch = this.#waiting[0]) {
      this.#waiting.shift();
      const { detail = 'too many events are unconfirmed' } = this.health();
      batch.rejectRest(new BusError('unavailable', `not sent within ${confirmTimeoutMs} ms: ${detail}`));
    }
  }
}
