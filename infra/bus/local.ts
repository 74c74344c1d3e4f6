// The local bus, for services that share one database: publishing hands the events to the inboxes of the subscribed
// groups (services). If a group runs in this process, its inbox handles the events at once and stores one row for each,
// in the transaction of the effect. Until that commit, the outbox keeps the event.
//
// Events are stored before they are processed in three cases: another process runs the group, the handler may take
// long, or the event is published again. In the last case it may have ended the process, and only the attempts of
// stored messages are counted. The rows of groups that other processes run are found by the polls of their workers, and
// several processes on one PostgreSQL share them with SKIP LOCKED.
import { type Database, isUnavailable } from '../database/port.ts';
import { BusError } from '../mqtt/port.ts';
import { PendingSet } from '../runtime/collections.ts';
import type { Health } from '../runtime/health.ts';
import type { Bus, OutgoingEvent, PublishFailure, Receiver, Subscription } from './port.ts';
import { publishError, receives, type Topology, typesOf } from './topology.ts';

export interface LocalBusOptions {
  readonly database: Database;
  readonly topology: Topology;
  /** The inbox of a group, whose table must exist. */
  readonly inboxOf: (group: string) => {
    /** Stores messages for the process that claims them first. */
    add(database: Database, messages: readonly StoredMessage[], leaseMs: 0): Promise<unknown>;
  };
}

export class LocalBus implements Bus {
  readonly kind = 'local';
  readonly #options: LocalBusOptions;
  readonly #receivers = new Map<string, Receiver>();
  readonly #publishing = new PendingSet();

  constructor(options: LocalBusOptions) {
    this.#options = options;
  }

  publish(events: readonly OutgoingEvent[]): Promise<PublishFailure[]> {
    return this.#publishing.add(this.#publish(events));
  }

  async subscribe(group: string, receiver: Receiver): Promise<Subscription> {
    typesOf(this.#options.topology, group); // throws if there is no such group
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

  interrupt(): void {}

  close(): Promise<void> {
    return this.#publishing.settled();
  }

  async #publish(events: readonly OutgoingEvent[]): Promise<PublishFailure[]> {
    const { topology } = this.#options;
    const failures: PublishFailure[] = [];
    const accepted: OutgoingEvent[] = [];
    for (const event of events) {
      const error = publishError(topology, event);
      if (error) failures.push({ id: event.id, error });
      else accepted.push(event);
    }
    const deliveries = Object.keys(topology.groups).map((group) =>
      this.#deliver(
        group,
        accepted.filter((event) => receives(topology, group, event)),
      ),
    );
    return failures.concat(...(await Promise.all(deliveries)));
  }

  async #deliver(group: string, batch: readonly OutgoingEvent[]): Promise<PublishFailure[]> {
    if (batch.length === 0) return [];
    try {
      const receiver = this.#receivers.get(group);
      if (!receiver) await this.#options.inboxOf(group).add(this.#options.database, batch.map(rowOf), 0);
      else {
        const [again, first] = [batch.filter(isAgain), batch.filter((event) => !isAgain(event))];
        await Promise.all([receiver.enqueue(again.map(messageOf)), receiver.processOrEnqueue(first.map(messageOf))]);
      }
      return [];
    } catch (error) {
      const code = isUnavailable(error) ? 'unavailable' : 'rejected';
      return batch.map(({ id }) => ({ id, error: new BusError(code, (error as Error).message, error) }));
    }
  }
}

const isAgain = ({ republished }: OutgoingEvent) => republished === true;
const messageOf = ({ body }: OutgoingEvent) => ({ body: Buffer.from(body) });

type StoredMessage = ReturnType<typeof rowOf>;

/** The subject is read from the body, as with every transport. The relay wrote this body, so it is well-formed. */
function rowOf({ id, type, body }: OutgoingEvent) {
  const { subject } = JSON.parse(body) as { subject: string };
  return { messageId: id, type, subject, body: Buffer.from(body) };
}
