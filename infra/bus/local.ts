// The local bus, for services that share one database: publishing writes into the inboxes of the subscribed groups. A
// group of this process claims its rows at once. The rows of other groups are found by the polls of their workers, and
// several processes on one PostgreSQL share them with SKIP LOCKED.
import { type Database, DatabaseUnavailable } from '../database/port.ts';
import { BusError } from '../mqtt/port.ts';
import type { Health } from '../runtime/health.ts';
import { PendingSet } from '../runtime/pending-set.ts';
import { publishError } from './outgoing.ts';
import type { Bus, OutgoingEvent, Receiver, Rejected, Subscription } from './port.ts';
import type { Topology } from './topology.ts';

export interface LocalBusOptions {
  readonly database: Database;
  readonly topology: Topology;
  /** The inbox of a group, whose table must exist. */
  readonly inboxOf: (group: string) => GroupInbox;
}

/** The inbox of a group that does not run in this process. */
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

export class LocalBus implements Bus {
  readonly kind = 'local';
  readonly #database: Database;
  readonly #topology: Topology;
  readonly #inboxes: ReadonlyMap<string, GroupInbox>;
  readonly #receivers = new Map<string, Receiver>();
  readonly #publishing = new PendingSet();

  constructor({ database, topology, inboxOf }: LocalBusOptions) {
    this.#database = database;
    this.#topology = topology;
    this.#inboxes = new Map(Object.keys(topology.groups).map((group) => [group, inboxOf(group)]));
  }

  publish(events: readonly OutgoingEvent[]): Promise<Rejected[]> {
    return this.#publishing.add(this.#publish(events));
  }

  async subscribe(group: string, receiver: Receiver): Promise<Subscription> {
    if (!this.#inboxes.has(group)) throw new RangeError(`the topology has no group ${group}`);
    this.#receivers.set(group, receiver);
    return {
      health: () => ({ status: 'up' }),
      backlog: async () => 0, // the inbox counts its rows itself
      rebuild: async () => receiver.wake(),
      close: async () => {
        if (this.#receivers.get(group) === receiver) this.#receivers.delete(group);
        await this.#publishing.settled();
      },
    };
  }

  health(): Health {
    return { status: 'up' };
  }

  close(): Promise<void> {
    return this.#publishing.settled();
  }

  async #publish(events: readonly OutgoingEvent[]): Promise<Rejected[]> {
    const rejected: Rejected[] = [];
    const accepted: OutgoingEvent[] = [];
    for (const event of events) {
      const error = publishError(this.#topology, event);
      if (error) rejected.push({ id: event.id, error });
      else accepted.push(event);
    }
    const deliveries = Object.entries(this.#topology.groups).map(([group, types]) =>
      this.#deliver(
        group,
        accepted.filter(({ type }) => types.includes(type)),
      ),
    );
    return rejected.concat(...(await Promise.all(deliveries)));
  }

  async #deliver(group: string, batch: readonly OutgoingEvent[]): Promise<Rejected[]> {
    if (batch.length === 0) return [];
    try {
      const messages = batch.map(({ id, type, body }) => ({ id, type, body: Buffer.from(body) }));
      const receiver = this.#receivers.get(group);
      if (receiver) await receiver.enqueue(messages);
      else await this.#inboxes.get(group)?.add(this.#database, messages.map(rowOf), 0);
      return [];
    } catch (error) {
      const code = error instanceof DatabaseUnavailable ? 'unavailable' : 'rejected';
      return batch.map(({ id }) => ({ id, error: new BusError(code, (error as Error).message, error) }));
    }
  }
}

/** The subject is read from the body, as with every transport. The relay wrote this body, so it is well-formed. */
function rowOf({ id, type, body }: { id: string; type: string; body: Buffer }): StoredMessage {
  const { subject } = JSON.parse(body.toString()) as { subject: string };
  return { messageId: id, type, subject, body };
}
