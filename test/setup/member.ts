// A member of a group on a bus: an inbox with its worker, as a service runs them, whose handler records what it did in
// a table without any unique key. So an effect that takes place twice is seen twice.
import { type Event, eventSchemas } from '../../contracts/events.ts';
import type { Receiver, Subscription } from '../../infra/bus/port.ts';
import type { Topology } from '../../infra/bus/topology.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import type { Database } from '../../infra/database/port.ts';
import type { AnyHandler } from '../../infra/messaging/handler.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import { InboxWorker } from '../../infra/messaging/inbox-worker.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import type { HandlingOutcome } from '../../infra/observability/log-format.ts';
import { failStep } from '../../services/points/fail-step.ts';
import { log, type Peer } from './bus-fixtures.ts';

const MESSAGING = new URL('../../infra/messaging/migrations/', import.meta.url);

export interface Group {
  readonly name: string;
  /** Of its tables: outbox, inbox, effects. */
  readonly schema: string;
}

/** Makes the tables of a group. */
export async function createTables(database: Database, { schema }: Group): Promise<void> {
  await migrate(database, schema, await readMigrations(MESSAGING, 'messaging'));
  await database.script(`CREATE TABLE ${schema}.effects (
    event_id uuid, order_id uuid, data json, member text, answer_id uuid DEFAULT gen_random_uuid(), at timestamptz DEFAULT now())`);
}

export interface MemberOptions {
  readonly name?: string;
  /** Before the transaction; throwing fails the attempt. */
  readonly prepare?: (event: Event) => Promise<void>;
  /** In the transaction, after the effects; throwing rolls them back. */
  readonly handle?: (events: readonly Event[]) => void;
  /** Before a reply is sent again, in the transaction; throwing fails the attempt. */
  readonly repeat?: (orderIds: readonly string[]) => void | Promise<void>;
  /** Before the inbox is given what arrived. */
  readonly receive?: () => Promise<void>;
  readonly attempts?: number;
  readonly retryMs?: number;
  readonly prefetch?: number;
  /** How long a row stays claimed by a member that is gone. */
  readonly leaseMs?: number;
  /** How often rows are looked for without a wake-up. */
  readonly pollMs?: number;
}

export class Member {
  readonly inbox: Inbox;
  readonly #worker: InboxWorker;
  readonly outcomes: HandlingOutcome[] = [];
  #subscription: Subscription | undefined;

  private constructor(database: Database, { schema }: Group, types: readonly string[], options: MemberOptions) {
    const { attempts = 3, retryMs = 20, prefetch = 50, leaseMs = 10_000, pollMs = 50 } = options;
    const outbox = new Outbox(schema);
    const common = { database, attempts, maxRows: prefetch, leaseMs, log };
    const handler = recordingHandler(schema, outbox, options);
    this.inbox = new Inbox({
      ...common,
      prefetch,
      schema,
      catalogue: eventSchemas,
      handlers: Object.fromEntries(types.map((type) => [type, handler])),
      onDead: failStep(outbox),
      retryBaseMs: retryMs,
      retryMaxMs: retryMs,
      onOutcome: (_type, outcome) => this.outcomes.push(outcome),
    });
    this.#worker = new InboxWorker({ ...common, inbox: this.inbox, pollMs, retentionDays: 7 });
  }

  /** Subscribes the group, whose tables exist, over this peer's connections. */
  static async join({ bus, database }: Peer, topology: Topology, group: Group, options: MemberOptions = {}) {
    const member = new Member(database, group, topology.groups[group.name] ?? [], options);
    member.#worker.start();
    member.#subscription = await bus.subscribe(group.name, receiverOf(member.inbox, options));
    return member;
  }

  get subscription(): Subscription {
    if (!this.#subscription) throw new Error('not subscribed yet');
    return this.#subscription;
  }

  /** In the order of a service that stops. */
  async close(): Promise<void> {
    this.inbox.stop();
    await this.#subscription?.close();
    await this.#worker.stop();
    await this.inbox.idle();
  }

  /** Claims no more rows, and leaves those it has: the part of a kill -9 that is not about connections. */
  crash(): void {
    this.inbox.stop();
    void this.#worker.stop();
  }
}

function receiverOf(inbox: Inbox, { receive }: MemberOptions): Receiver {
  if (!receive) return inbox;
  return {
    handle: (batch) => receive().then(() => inbox.handle(batch)),
    store: (batch) => receive().then(() => inbox.store(batch)),
    bury: (batch, reason) => inbox.bury(batch, reason),
    wake: () => inbox.wake(),
  };
}

function recordingHandler(
  schema: string,
  outbox: Outbox,
  { name, prepare, handle, repeat }: MemberOptions,
): AnyHandler {
  const answers = `SELECT answer_id AS event_id, 'points.awarded' AS type, order_id AS subject, at AS time,
      json_build_object('orderId', order_id, 'userId', 'alice', 'points', 1)::text AS data
    FROM ${schema}.effects WHERE order_id = ANY($1::uuid[])`;
  return {
    ...(prepare ? { prepare } : {}),
    handle: async (tx, events: readonly Event[]) => {
      const effects = events.map(({ id, subject, data }) => ({ event_id: id, order_id: subject, data, member: name }));
      await tx.execute(
        `INSERT INTO ${schema}.effects (event_id, order_id, data, member)
         SELECT * FROM json_to_recordset($1::json) AS r (event_id uuid, order_id uuid, data json, member text)`,
        [JSON.stringify(effects)],
      );
      handle?.(events);
      const orderIds = effects.map(({ order_id }) => order_id);
      await outbox.write(tx, 'bus', answers, [orderIds]);
    },
    repeat: async (tx, orderIds) => {
      await repeat?.(orderIds);
      await outbox.write(tx, 'bus', answers, [orderIds]);
    },
  };
}
