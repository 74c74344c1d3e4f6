// The local bus: where all services share one database, publishing is writing into the inboxes of the subscribed
// groups, by one statement for a batch. The inbox's worker takes it from there; several processes on one PostgreSQL
// share the rows by SKIP LOCKED.

import { MAX_EVENT_BYTES } from '../../contracts/events.ts';
import { type Database, DatabaseUnavailable } from '../database/port.ts';
import { pendingRows } from '../messaging/inbox-store.ts';
import { type Bus, BusError, type OutgoingEvent, type Receiver, type Rejected } from './port.ts';
import type { Topology } from './topology.ts';

export interface LocalBusOptions {
  readonly database: Database;
  readonly topology: Topology;
  /** The schema that holds a group's inbox; the table must exist. */
  readonly schemaOf: (group: string) => string;
}

export function openLocalBus({ database, topology, schemaOf }: LocalBusOptions): Bus {
  const groups = Object.keys(topology.groups);
  // One data-modifying CTE per group; $1 is the batch, and each group takes the types it subscribes to.
  const publishStatement = `WITH event AS MATERIALIZED (
      SELECT * FROM json_to_recordset($1::json) AS r ("messageId" uuid, type text, subject uuid, body text)
    ), ${groups
      .map(
        (group, index) =>
          `"${group}" AS (${pendingRows(schemaOf(group), `event WHERE type = ANY($${index + 2}::text[])`)})`,
      )
      .join(', ')} SELECT 1`;
  const types = groups.map((group) => topology.groups[group]);
  const receivers = new Map<string, Set<Receiver>>(groups.map((group) => [group, new Set()]));
  const publishing = new Set<Promise<unknown>>();

  const write = async (events: readonly OutgoingEvent[]): Promise<Rejected[]> => {
    try {
      await database.query(publishStatement, [JSON.stringify(events.map(inRow)), ...types]);
    } catch (error) {
      const code = error instanceof DatabaseUnavailable ? 'unavailable' : 'refused';
      return events.map(({ id }) => ({ id, error: new BusError(code, (error as Error).message, error) }));
    }
    const published = new Set(events.map(({ type }) => type));
    for (const [group, members] of receivers) {
      if (topology.groups[group]?.some((type) => published.has(type))) for (const member of members) member.wake();
    }
    return [];
  };

  return {
    kind: 'local',
    publish: async (events) => {
      const oversized = events.filter(({ body }) => Buffer.byteLength(body) > MAX_EVENT_BYTES);
      const rejected = oversized.map(({ id, body }) => ({
        id,
        error: new BusError('oversized', `${Buffer.byteLength(body)} bytes, allowed ${MAX_EVENT_BYTES}`),
      }));
      const rest = oversized.length === 0 ? events : events.filter((event) => !oversized.includes(event));
      if (rest.length === 0) return rejected;
      const writing = write(rest);
      publishing.add(writing);
      const refused = await writing.finally(() => publishing.delete(writing));
      return [...rejected, ...refused];
    },
    subscribe: async (group, receiver) => {
      const members = receivers.get(group);
      if (!members) throw new RangeError(`${group} is not a group of this bus: ${groups.join(', ')}`);
      members.add(receiver);
      return {
        health: () => ({ status: 'up' }),
        backlog: async () => 0, // what waits is in the inbox, which counts it itself
        rebuild: async () => receiver.wake(),
        close: async () => {
          members.delete(receiver);
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
function inRow({ id, type, body }: OutgoingEvent) {
  const { subject } = JSON.parse(body) as { subject: string };
  return { messageId: id, type, subject, body };
}
