// The local bus: where all services share one database, publishing is writing into the inboxes of the subscribed
// groups. A group that runs in this process takes its rows on at once; those of others are found by their workers'
// polls, and several processes on one PostgreSQL share them by SKIP LOCKED.

import { type Database, DatabaseUnavailable } from '../database/port.ts';
import { BusError } from '../mqtt/bus-error.ts';
import type { Bus, OutgoingEvent, Receiver, Rejected } from './port.ts';
import { MAX_EVENT_BYTES } from './port.ts';
import { groupsFor, type Topology } from './topology.ts';

export interface LocalBusOptions {
  readonly database: Database;
  readonly topology: Topology;
  /** A group's inbox, whose table must exist. */
  readonly inboxOf: (group: string) => GroupInbox;
}

/** Where messages wait for a group that does not run in this process. */
interface GroupInbox {
  /** Stores messages for the process that claims them first. */
  add(database: Database, messages: readonly StoredMessage[], leaseMs: 0): Promise<unknown>;
}

interface StoredMessage {
  readonly messageId: string;
  readonly type: string;
  readonly subject: string;
  readonly body: Buffer;
}

export function openLocalBus({ database, topology, inboxOf }: LocalBusOptions): Bus {
  const inboxes = new Map(Object.keys(topology.groups).map((group) => [group, inboxOf(group)]));
  const receivers = new Map<string, Receiver>();
  const publishing = new Set<Promise<unknown>>();

  const deliver = async (group: string, batch: readonly OutgoingEvent[]): Promise<Rejected[]> => {
    try {
      const messages = batch.map(({ id, type, body }) => ({ id, type, body: Buffer.from(body) }));
      const receiver = receivers.get(group);
      if (receiver) await receiver.enqueue(messages);
      else await inboxes.get(group)?.add(database, messages.map(rowOf), 0);
      return [];
    } catch (error) {
      const code = error instanceof DatabaseUnavailable ? 'unavailable' : 'rejected';
      return batch.map(({ id }) => ({ id, error: new BusError(code, (error as Error).message, error) }));
    }
  };

  const publish = async (events: readonly OutgoingEvent[]): Promise<Rejected[]> => {
    const rejected: Rejected[] = [];
    const batches = new Map<string, OutgoingEvent[]>();
    for (const event of events) {
      const bytes = Buffer.byteLength(event.body);
      if (bytes > MAX_EVENT_BYTES) {
        const error = new BusError('oversized', `${bytes} bytes, allowed ${MAX_EVENT_BYTES}`);
        rejected.push({ id: event.id, error });
        continue;
      }
      const groups = groupsFor(topology, event.type);
      if (groups.length === 0) {
        rejected.push({ id: event.id, error: new BusError('unroutable', `no group receives ${event.type}`) });
      }
      for (const group of groups) {
        const batch = batches.get(group);
        if (batch) batch.push(event);
        else batches.set(group, [event]);
      }
    }
    const undelivered = await Promise.all([...batches].map(([group, batch]) => deliver(group, batch)));
    return rejected.concat(...undelivered);
  };

  return {
    kind: 'local',
    publish: (events) => {
      const running = publish(events).finally(() => publishing.delete(running));
      publishing.add(running);
      return running;
    },
    subscribe: async (group, receiver) => {
      if (!inboxes.has(group)) throw new RangeError(`${group} is no group of the topology`);
      receivers.set(group, receiver);
      return {
        health: () => ({ status: 'up' }),
        backlog: async () => 0, // what waits is in the inbox, which counts it itself
        rebuild: async () => receiver.wake(),
        close: async () => {
          if (receivers.get(group) === receiver) receivers.delete(group);
          await Promise.all(publishing);
        },
      };
    },
    health: () => ({ status: 'up' }),
    close: async () => {
      await Promise.all(publishing);
    },
  };
}

/** The subject is read from the body, as from any transport: the events that come here were written by the relay. */
function rowOf({ id, type, body }: { id: string; type: string; body: Buffer }): StoredMessage {
  const { subject } = JSON.parse(body.toString()) as { subject: string };
  return { messageId: id, type, subject, body };
}
