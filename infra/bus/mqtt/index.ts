// The event bus over an MQTT 3.1.1 broker: an event is published once, QoS 2, on the topic of its type; each group has
// one session (clean: false) that keeps its events, subscribed with QoS 1.
//
// A broker keeps nothing for a session that never existed. So before the first event is published, the session of every
// group is created, also that of a group which runs elsewhere or not yet.
import type { Logger } from 'pino';
import type { Database } from '../../database/port.ts';
import type { Connect } from '../../mqtt/connect.ts';
import { BusError, type MqttPublisher } from '../../mqtt/port.ts';
import { eventTopic, probeTopic } from '../../mqtt/topics.ts';
import type { Health } from '../../runtime/health.ts';
import { PendingSet } from '../../runtime/pending-set.ts';
import { within } from '../../runtime/promises.ts';
import { reasonOf } from '../../runtime/reason.ts';
import { publishError } from '../outgoing.ts';
import type { Bus, OutgoingEvent, Receiver, Rejected, Subscription } from '../port.ts';
import { sessionOf, type Topology } from '../topology.ts';
import { ExclusiveConsumer } from './exclusive-consumer.ts';
import { declareSession, type SessionOptions } from './session.ts';

export interface MqttBusOptions {
  readonly topology: Topology;
  /** Publishes the events. Its owner closes it, after the bus. */
  readonly publisher: MqttPublisher;
  /** Opens the groups' connections: connectTo(url) for an external broker, connectInternal of the embedded one. */
  readonly connect: Connect;
  /** Its locks decide which process consumes a group's session. */
  readonly database: Pick<Database, 'tryLock'>;
  readonly log: Logger;
}

/** Events that the publisher gets at a time: a relay's batch, so that the whole batch shares the publisher's timeout. */
const PUBLISH_WINDOW = 200;
/** A publish fails if the groups' sessions do not exist within this time. */
const DECLARE_TIMEOUT_MS = 5_000;

export class MqttBus implements Bus {
  readonly kind = 'mqtt';
  readonly #options: MqttBusOptions;
  readonly #consumers = new Map<string, ExclusiveConsumer>();
  readonly #publishing = new PendingSet();
  #declared: Promise<void> | undefined;
  #closed = false;

  constructor(options: MqttBusOptions) {
    this.#options = options;
  }

  publish(events: readonly OutgoingEvent[]): Promise<Rejected[]> {
    return this.#publishing.add(this.#publish(events));
  }

  async subscribe(group: string, receiver: Receiver): Promise<Subscription> {
    const options = this.#sessionOptions(group);
    // A pending declaration connects with the session's id, so it has to end first.
    await this.#declared?.catch(() => {});
    if (this.#consumers.has(group)) throw new Error(`${group} is subscribed already in this process`);
    const consumer = new ExclusiveConsumer(options, receiver);
    this.#consumers.set(group, consumer);
    void consumer.start().finally(() => this.#consumers.delete(group));
    await consumer.attempted;
    return consumer;
  }

  health(): Health {
    return this.#options.publisher.health();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#publishing.settled();
  }

  async #publish(events: readonly OutgoingEvent[]): Promise<Rejected[]> {
    try {
      if (this.#closed) throw new Error('the bus is closed');
      await this.#declareAll();
    } catch (cause) {
      const error = new BusError('unavailable', `the MQTT sessions do not exist: ${reasonOf(cause)}`, cause);
      return events.map(({ id }) => ({ id, error }));
    }
    const rejected: Rejected[] = [];
    const rest = events.values();
    const publishNext = async () => {
      for (const event of rest) {
        await this.#publishOne(event).catch((error) => rejected.push({ id: event.id, error: asBusError(error) }));
      }
    };
    await Promise.all(Array.from({ length: Math.min(PUBLISH_WINDOW, events.length) }, publishNext));
    return rejected;
  }

  async #publishOne(event: OutgoingEvent): Promise<void> {
    const { topology, publisher } = this.#options;
    const error = publishError(topology, event);
    if (error) throw error;
    await publisher.publish(eventTopic(topology.prefix, event.type), event.body, { qos: 2 });
  }

  /** Creates every group's session, once; after a failure the next call tries again. */
  #declareAll(): Promise<void> {
    this.#declared ??= Promise.all(
      Object.keys(this.#options.topology.groups).map((group) => this.#declare(group)),
    ).then(
      () => {},
      (error) => {
        this.#declared = undefined;
        throw error;
      },
    );
    return this.#declared;
  }

  #declare(group: string): Promise<void> {
    const consumer = this.#consumers.get(group);
    return consumer
      ? within(DECLARE_TIMEOUT_MS, consumer.established)
      : declareSession(this.#sessionOptions(group), DECLARE_TIMEOUT_MS);
  }

  #sessionOptions(group: string): SessionOptions {
    const { topology, publisher, connect, database, log } = this.#options;
    const { prefix, groups } = topology;
    const types = groups[group];
    if (!types) throw new RangeError(`the topology has no group ${group}`);
    return {
      id: sessionOf(prefix, group),
      topics: types.map((type) => eventTopic(prefix, type)),
      probeTopic: probeTopic(prefix, group),
      publisher,
      connect,
      database,
      log,
    };
  }
}

const asBusError = (error: unknown) =>
  error instanceof BusError ? error : new BusError('unavailable', reasonOf(error), error);
