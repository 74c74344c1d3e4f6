// The event bus over an MQTT 3.1.1 broker: an event is published once, QoS 2, on the topic of its type; each group has
// one session (clean: false) that keeps its events, subscribed with QoS 1.
//
// A broker keeps nothing for a session that never existed. So before the first event is published, the session of every
// group is created, even that of a group that runs elsewhere or does not run yet.
import { BusError, type MqttPublisher } from '../../mqtt/port.ts';
import { eventTopic, probeTopic, publishedQos } from '../../mqtt/topics.ts';
import { PendingSet } from '../../runtime/collections.ts';
import type { Health } from '../../runtime/health.ts';
import { unlessAborted, within } from '../../runtime/promises.ts';
import { reasonOf } from '../../runtime/reason.ts';
import type { Bus, OutgoingEvent, PublishFailure, Receiver, Subscription } from '../port.ts';
import { publishError, sessionOf, type Topology, typesOf } from '../topology.ts';
import { declareSession, ExclusiveConsumer, type SessionOptions } from './exclusive-consumer.ts';

export interface MqttBusOptions extends Pick<SessionOptions, 'connect' | 'database' | 'log'> {
  readonly topology: Topology;
  /** Publishes the events and probes. Its owner closes it, after the bus. */
  readonly publisher: MqttPublisher;
}

/**
 * Events that the publisher gets at a time: a relay's batch, so that the whole batch shares the publisher's timeout.
 */
const PUBLISH_WINDOW = 200;
/** A publish fails if the groups' sessions do not exist within this time. */
const DECLARE_TIMEOUT_MS = 5_000;

export class MqttBus implements Bus {
  readonly kind = 'mqtt';
  readonly #options: MqttBusOptions;
  readonly #consumers = new Map<string, ExclusiveConsumer>();
  readonly #publishing = new PendingSet();
  readonly #stopping = new AbortController();
  #declared: Promise<unknown> | undefined;
  #closed = false;

  constructor(options: MqttBusOptions) {
    this.#options = options;
  }

  publish(events: readonly OutgoingEvent[]): Promise<PublishFailure[]> {
    return this.#publishing.add(this.#publish(events));
  }

  async subscribe(group: string, receiver: Receiver): Promise<Subscription> {
    const options = this.#sessionOptions(group);
    // A pending declaration connects with the session's id, so it has to end first.
    await this.#unlessStopping(this.#declared);
    if (this.#consumers.has(group)) throw new Error(`${group} is subscribed already in this process`);
    const consumer = new ExclusiveConsumer(options, receiver);
    this.#consumers.set(group, consumer);
    void consumer.start().finally(() => this.#consumers.delete(group));
    await this.#unlessStopping(consumer.attempted);
    return consumer;
  }

  health(): Health {
    return this.#options.publisher.health();
  }

  interrupt(): void {
    this.#stopping.abort(new Error('this process is stopping'));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#publishing.settled();
  }

  /** Resolves when `wait` has settled or a stop has begun. */
  async #unlessStopping(wait: Promise<unknown> | undefined): Promise<void> {
    if (wait) await unlessAborted(this.#stopping.signal, wait).catch(() => {});
  }

  async #publish(events: readonly OutgoingEvent[]): Promise<PublishFailure[]> {
    const failAll = (error: BusError) => events.map(({ id }) => ({ id, error }));
    if (this.#closed) return failAll(new BusError('unavailable', 'the bus is closed'));
    try {
      await this.#declareAll();
    } catch (cause) {
      return failAll(new BusError('unavailable', `the MQTT sessions could not be created: ${reasonOf(cause)}`, cause));
    }
    const { topology, publisher } = this.#options;
    const failures: PublishFailure[] = [];
    const rest = events.values();
    const publishNext = async () => {
      for (const event of rest) {
        const { id, type, body } = event;
        const publish = () => publisher.publish(eventTopic(topology.prefix, type), body, { qos: publishedQos.event });
        const error = publishError(topology, event) ?? (await publish().then(() => undefined, asBusError));
        if (error) failures.push({ id, error });
      }
    };
    await Promise.all(Array.from({ length: Math.min(PUBLISH_WINDOW, events.length) }, publishNext));
    return failures;
  }

  /** Creates every group's session, once; after a failure the next call tries again. */
  #declareAll(): Promise<unknown> {
    const declare = (group: string): Promise<void> => {
      const consumer = this.#consumers.get(group);
      if (consumer) return within(DECLARE_TIMEOUT_MS, unlessAborted(this.#stopping.signal, consumer.established));
      return declareSession(this.#sessionOptions(group), DECLARE_TIMEOUT_MS, this.#stopping.signal);
    };
    this.#declared ??= Promise.all(Object.keys(this.#options.topology.groups).map(declare)).catch((error) => {
      this.#declared = undefined;
      throw error;
    });
    return this.#declared;
  }

  #sessionOptions(group: string): SessionOptions {
    const { topology, ...shared } = this.#options;
    const { prefix } = topology;
    const topics = typesOf(topology, group).map((type) => eventTopic(prefix, type));
    return { ...shared, id: sessionOf(prefix, group), topics, probeTopic: probeTopic(prefix, group) };
  }
}

const asBusError = (error: unknown) =>
  error instanceof BusError ? error : new BusError('unavailable', reasonOf(error), error);
