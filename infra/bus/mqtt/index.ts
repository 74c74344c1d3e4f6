// The event bus over an MQTT 3.1.1 broker, with the means that MQTT has: an event goes out once, QoS 2, on the topic of
// its type; each group has one session there (clean: false) in which its events wait, subscribed with QoS 1.
//
// A session that never existed keeps nothing. So before the first event goes out, every group's session is made to
// exist, also that of a group which runs elsewhere or not yet.
import type { Logger } from 'pino';
import type { Database } from '../../database/port.ts';
import { BusError } from '../../mqtt/bus-error.ts';
import { type Connect, reasonOf } from '../../mqtt/connect.ts';
import type { MqttPublisher } from '../../mqtt/port.ts';
import { eventTopic, probeTopic } from '../../mqtt/topics.ts';
import { within } from '../../runtime/promises.ts';
import type { Bus, OutgoingEvent, Rejected } from '../port.ts';
import { MAX_EVENT_BYTES } from '../port.ts';
import { groupsFor, sessionOf, type Topology } from '../topology.ts';
import { declareSession, type HeldSession, holdSession, type SessionOptions } from './session.ts';

export interface MqttBusOptions {
  readonly topology: Topology;
  /** Publishes the events; whoever made it closes it, after the bus. */
  readonly publisher: MqttPublisher;
  /** Opens the groups' connections: connectTo(url) for an external broker, connectInside of the embedded one. */
  readonly connect: Connect;
  /** Its locks decide which process holds a group's session. */
  readonly database: Pick<Database, 'tryLock'>;
  readonly log: Logger;
}

/** Events that are given to the publisher at a time: a relay's batch, so that all of it shares the publisher's timeout. */
const PUBLISH_WINDOW = 200;
/** How long a group's session may take to come into existence before the publish that waits for it gives up. */
const DECLARE_WITHIN_MS = 5_000;

export function openMqttBus({ topology, publisher, connect, database, log }: MqttBusOptions): Bus {
  const sessions = new Map<string, HeldSession>();
  const publishing = new Set<Promise<unknown>>();
  let declared: Promise<void> | undefined;
  let closed = false;

  const sessionOptions = (group: string): SessionOptions => {
    const types = topology.groups[group];
    if (!types) throw new RangeError(`the topology has no group ${group}`);
    const topics = types.map((type) => eventTopic(topology.prefix, type));
    const { prefix } = topology;
    return {
      id: sessionOf(prefix, group),
      topics,
      probeTopic: probeTopic(prefix, group),
      publisher,
      connect,
      database,
      log,
    };
  };

  /** Makes every group's session exist, once; tries again at the next call where that failed. */
  function declareAll(): Promise<void> {
    declared ??= Promise.all(Object.keys(topology.groups).map(declare)).then(
      () => {},
      (error) => {
        declared = undefined;
        throw error;
      },
    );
    return declared;
  }

  function declare(group: string): Promise<void> {
    const held = sessions.get(group);
    return held
      ? within(DECLARE_WITHIN_MS, held.established)
      : declareSession(sessionOptions(group), DECLARE_WITHIN_MS);
  }

  async function publishOne({ type, body }: OutgoingEvent): Promise<void> {
    if (Buffer.byteLength(body) > MAX_EVENT_BYTES) {
      throw new BusError('oversized', `the event is larger than ${MAX_EVENT_BYTES} bytes`);
    }
    // The broker would accept it, and forget it.
    if (groupsFor(topology, type).length === 0) throw new BusError('unroutable', `no group receives ${type}`);
    await publisher.publish(eventTopic(topology.prefix, type), body, { qos: 2 });
  }

  async function publishAll(events: readonly OutgoingEvent[]): Promise<Rejected[]> {
    try {
      if (closed) throw new Error('the bus is closed');
      await declareAll();
    } catch (cause) {
      const error = new BusError('unavailable', `the MQTT sessions do not exist: ${reasonOf(cause)}`, cause);
      return events.map(({ id }) => ({ id, error }));
    }
    const rejected: Rejected[] = [];
    const rest = events.values();
    const lane = async () => {
      for (const event of rest) {
        await publishOne(event).catch((error) => rejected.push({ id: event.id, error: asBusError(error) }));
      }
    };
    await Promise.all(Array.from({ length: Math.min(PUBLISH_WINDOW, events.length) }, lane));
    return rejected;
  }

  return {
    kind: 'mqtt',
    publish(events) {
      const published = publishAll(events);
      publishing.add(published);
      return published.finally(() => publishing.delete(published));
    },
    async subscribe(group, receiver) {
      const options = sessionOptions(group);
      // A declaration under way connects with the session's id; it ends first.
      await declared?.catch(() => {});
      if (sessions.has(group)) throw new Error(`${group} is subscribed already in this process`);
      const session = holdSession(options, receiver);
      sessions.set(group, session);
      await session.attempted;
      return {
        ...session,
        close: () => session.close().finally(() => sessions.delete(group)),
      };
    },
    health: () => publisher.health(),
    async close() {
      closed = true;
      await Promise.allSettled(publishing);
    },
  };
}

const asBusError = (error: unknown) =>
  error instanceof BusError ? error : new BusError('unavailable', reasonOf(error), error);
