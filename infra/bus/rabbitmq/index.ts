// The event bus on RabbitMQ (3.10 or newer): a topic exchange, a quorum queue and a dead-letter queue per group,
// publisher confirms. While the broker is away, every event is delayed and none is lost.
//
// Publishing and consuming have a connection each: a broker that is short of memory or disk stops reading from
// publishing connections, and acknowledgements must go on.
//
// The events of a publish() call share messages (batch.ts). The messages of all calls are sent in order of arrival,
// through one window: at most `maxUnconfirmed` messages, each of up to MAX_EVENT_BYTES, are sent and not yet confirmed.
// Further ones wait; the callers limit their number.
import { setTimeout as delay } from 'node:timers/promises';
import type { ConfirmChannel } from 'amqplib';
import { BusError } from '../../mqtt/port.ts';
import { PendingSet } from '../../runtime/collections.ts';
import type { Health } from '../../runtime/health.ts';
import type { Bus, OutgoingEvent, PublishFailure, Receiver, Subscription } from '../port.ts';
import { exchangeOf, sizeError, typesOf } from '../topology.ts';
import { contentOf, type OutgoingMessage, packEvents } from './batch.ts';
import { Connection } from './connection.ts';
import { declareTopology } from './declare.ts';
import { type BusSettings, defaults, type RabbitmqBusOptions } from './options.ts';
import { ResilientChannel } from './resilient-channel.ts';
import { RabbitmqSubscription } from './subscription.ts';

/**
 * An older topology is declared again before the next event: a binding that is missing for only one of an event's
 * groups causes no return.
 */
const DECLARATION_MAX_AGE_MS = 30_000;
/**
 * After a returned message, before the missing queue is declared again. RabbitMQ 3.10 does not cancel the consumer of a
 * deleted queue if the queue is declared again too soon: it attaches the consumer to the new queue and drops the
 * messages, as if it had delivered them before.
 */
const DECLARE_AFTER_RETURN_MS = 500;
/**
 * After a nack the channel is replaced, at most this often. In RabbitMQ 3.10, a channel whose first event for a quorum
 * queue comes right after a node has failed goes on using that node: it rejects every event for the queue while the
 * node is away, although the queue has a new leader. (4.0 tries each node.)
 */
const REPLACE_CHANNEL_EVERY_MS = 1_000;

/** How long a message may take to be sent, and again to be confirmed, once a stop has begun: it stays in the outbox. */
const STOP_TIMEOUT_MS = 1_000;

/** A message that waits to be sent, and then for its confirm. */
interface Pending {
  readonly message: OutgoingMessage;
  /** When the present wait began, by performance.now(). */
  since: number;
  returned: boolean;
  readonly settle: (error?: BusError) => void;
}

/** Connects in the background: a broker that is away shows in health(), never as an exception. */
export class RabbitmqBus implements Bus {
  readonly kind = 'rabbitmq';
  readonly #settings: BusSettings;
  /** For publishing. */
  readonly #connection: Connection;
  /** For all subscriptions. */
  #consuming: Connection | undefined;
  readonly #exchange: string;
  readonly #channel: ResilientChannel<ConfirmChannel>;
  /** Both in order of time: the first is the oldest. */
  readonly #waiting = new Set<Pending>();
  readonly #inFlight = new Set<Pending>();
  readonly #publishing = new PendingSet();
  #deadline: NodeJS.Timeout | undefined;
  #declaredAt = Number.NEGATIVE_INFINITY;
  /** The channel on which the topology is being declared. */
  #declaring: ConfirmChannel | undefined;
  /** Whether the broker has rejected an event (nack) on this channel. */
  #rejected = false;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #confirmTimeoutMs: number;
  #closing: Promise<void> | undefined;

  constructor(options: RabbitmqBusOptions) {
    const settings = { ...defaults, ...options };
    const connection = new Connection(settings, 'publisher');
    this.#connection = connection;
    this.#settings = settings;
    this.#confirmTimeoutMs = settings.confirmTimeoutMs;
    this.#exchange = exchangeOf(settings.topology);
    this.#channel = new ResilientChannel({
      connection,
      name: 'publisher',
      open: (model) => model.createConfirmChannel(),
      setUp: async (channel) => {
        channel.on('return', (message) => this.#returned(message.properties.messageId));
        await this.#declare(channel);
      },
      onReady: this.#pump,
      log: settings.log,
    });
    connection.on('change', this.#pump);
  }

  health(): Health {
    return this.#channel.health();
  }

  /** Resolves within twice `confirmTimeoutMs`: the limit for an event to be sent, and again for its confirm. */
  publish(events: readonly OutgoingEvent[]): Promise<PublishFailure[]> {
    const oversized: PublishFailure[] = [];
    const accepted: OutgoingEvent[] = [];
    for (const event of events) {
      const error = sizeError(event);
      if (error) oversized.push({ id: event.id, error });
      else accepted.push(event);
    }
    const messages = packEvents(accepted, this.#settings.eventsPerMessage);
    const outcomes = messages.map((message) => this.#publish(message));
    this.#pump();
    return this.#publishing.add(Promise.all(outcomes).then((failures) => oversized.concat(...failures)));
  }

  /** The outcome of a message is the outcome of each of its events. */
  async #publish(message: OutgoingMessage): Promise<PublishFailure[]> {
    const closed = this.#closing && new BusError('unavailable', 'the bus is closed');
    const error = closed ?? (await this.#enqueue(message));
    return error ? message.events.map(({ id }) => ({ id, error })) : [];
  }

  async subscribe(group: string, receiver: Receiver): Promise<Subscription> {
    if (this.#closing) throw new Error('the bus is closed');
    typesOf(this.#settings.topology, group); // throws if there is no such group
    this.#consuming ??= new Connection(this.#settings, 'consumer');
    const connection = this.#consuming;
    const subscription = new RabbitmqSubscription({ ...this.#settings, connection, group, receiver });
    await connection.attempted;
    await Promise.race([subscription.settled(), connection.interrupted]);
    return subscription;
  }

  interrupt(): void {
    this.#connection.interrupt();
    this.#consuming?.interrupt();
    // Without a channel, or while the broker reads nothing, none of the messages can leave.
    const canSend = this.#channel.current && !this.#connection.blocked;
    this.#confirmTimeoutMs = canSend ? Math.min(STOP_TIMEOUT_MS, this.#confirmTimeoutMs) : 0;
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
    this.#watchDeadline();
  }

  close(): Promise<void> {
    this.#closing ??= Promise.all([this.#drain(), this.#consuming?.close()]).then(() => {});
    return this.#closing;
  }

  /** Waits for pending publishes, then closes their connection. */
  async #drain(): Promise<void> {
    await this.#publishing.settled();
    clearTimeout(this.#deadline);
    this.#connection.off('change', this.#pump);
    this.#channel.retire();
    await this.#connection.close();
  }

  #enqueue(message: OutgoingMessage): Promise<BusError | undefined> {
    return new Promise((settle) => this.#waiting.add({ message, since: performance.now(), returned: false, settle }));
  }

  /** Sends waiting messages while the window has room. */
  readonly #pump = (): void => {
    const channel = this.#usableChannel();
    for (const pending of this.#waiting) {
      if (!channel || this.#inFlight.size >= this.#settings.maxUnconfirmed) break;
      this.#waiting.delete(pending);
      this.#send(channel, pending);
    }
    this.#watchDeadline();
  };

  #usableChannel(): ConfirmChannel | undefined {
    const channel = this.#channel.current;
    const connection = this.#connection;
    // While blocked, the broker reads nothing: events would only pile up in the socket.
    if (!channel || this.#waiting.size === 0 || this.#declaring === channel || connection.blocked) return;
    if (this.#rejected && performance.now() - this.#renewedAt > REPLACE_CHANNEL_EVERY_MS) {
      // Not before every event in flight has its outcome; the last outcome calls #pump() again.
      if (this.#inFlight.size > 0) return;
      this.#rejected = false;
      this.#renewedAt = performance.now();
      void this.#channel.renew('the broker rejected an event');
      return;
    }
    if (performance.now() - this.#declaredAt < DECLARATION_MAX_AGE_MS) return channel;
    connection
      .withDeadline(this.#declareAgain(channel), connection.declareTimeoutMs)
      .catch((error: unknown) => this.#channel.renew(String(error)))
      .finally(this.#pump);
    return;
  }

  async #declareAgain(channel: ConfirmChannel): Promise<void> {
    this.#declaring = channel;
    if (this.#declaredAt === Number.NEGATIVE_INFINITY) await delay(DECLARE_AFTER_RETURN_MS);
    if (this.#channel.current === channel) await this.#declare(channel);
  }

  async #declare(channel: ConfirmChannel): Promise<void> {
    this.#declaring = channel;
    try {
      const { topology, deliveryLimit } = this.#settings;
      await declareTopology(channel, topology, deliveryLimit);
      this.#declaredAt = performance.now();
    } finally {
      if (this.#declaring === channel) this.#declaring = undefined;
    }
  }

  #send(channel: ConfirmChannel, pending: Pending): void {
    const { message } = pending;
    const { content, contentType } = contentOf(message);
    pending.since = performance.now();
    this.#inFlight.add(pending);
    const properties = { persistent: true, mandatory: true, contentType, messageId: message.id };
    try {
      channel.publish(this.#exchange, message.routingKey, content, properties, (fault: unknown) => {
        // A late confirm, after the message has timed out.
        if (!this.#inFlight.delete(pending)) return;
        pending.settle(this.#errorOf(pending, channel, fault));
        this.#pump();
      });
    } catch (cause) {
      this.#inFlight.delete(pending);
      pending.settle(new BusError('unavailable', 'not sent', cause));
    }
  }

  #errorOf({ returned }: Pending, channel: ConfirmChannel, fault: unknown): BusError | undefined {
    if (fault && this.#channel.current === channel) {
      this.#rejected = true;
      return new BusError('rejected', 'the broker rejected the event', fault);
    }
    if (fault) return new BusError('unavailable', `no confirm: ${this.health().detail ?? 'channel closed'}`, fault);
    if (returned) return new BusError('unroutable', `no queue is bound to ${this.#exchange} for this event`);
    return undefined;
  }

  /** A return comes before the confirm. The next event declares the missing queue or binding again. */
  #returned(id: unknown): void {
    for (const pending of this.#inFlight) if (pending.message.id === id) pending.returned = true;
    this.#declaredAt = Number.NEGATIVE_INFINITY;
  }

  /** One timer for all, because the oldest message is due first. */
  #watchDeadline(): void {
    if (this.#deadline) return;
    const [sent] = this.#inFlight;
    const [waiting] = this.#waiting;
    const since = Math.min(sent?.since ?? Infinity, waiting?.since ?? Infinity);
    if (since === Infinity) return;
    const confirmTimeoutMs = this.#confirmTimeoutMs;
    const expire = () => {
      this.#deadline = undefined;
      this.#expire(performance.now() - confirmTimeoutMs);
      this.#watchDeadline();
    };
    this.#deadline = setTimeout(expire, Math.ceil(since + confirmTimeoutMs - performance.now()));
  }

  /** Fails the messages that have been unconfirmed or waiting since `limit` or longer. */
  #expire(limit: number): void {
    const confirmTimeoutMs = this.#confirmTimeoutMs;
    const [oldest] = this.#inFlight;
    if (oldest && oldest.since <= limit) {
      // The state of this channel's other messages is unknown, so all of them fail.
      const unconfirmed = new BusError('unconfirmed', `no confirm within ${confirmTimeoutMs} ms`);
      const unsettled = [...this.#inFlight];
      this.#inFlight.clear();
      void this.#channel.renew(unconfirmed.message);
      for (const { settle } of unsettled) settle(unconfirmed);
    }
    const { detail = 'too many events are unconfirmed' } = this.health();
    for (const pending of this.#waiting) {
      if (pending.since > limit) break;
      this.#waiting.delete(pending);
      pending.settle(new BusError('unavailable', `not sent within ${confirmTimeoutMs} ms: ${detail}`));
    }
  }
}
