// Consumes a group's events as a service does, with an inbox and its worker. The handler records its effects in a table
// without any unique key, so an effect that takes place twice is visible twice.
import { type Event, eventSchemas, stepFailed } from '../../contracts/events.ts';
import type { Receiver, Subscription } from '../../infra/bus/port.ts';
import type { Topology } from '../../infra/bus/topology.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import type { Database } from '../../infra/database/port.ts';
import { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import type { AnyHandler } from '../../infra/messaging/handler.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import { defineStatement, Outbox, reportDead } from '../../infra/messaging/outbox.ts';
import type { HandlingOutcome } from '../../infra/observability/log-format.ts';
import { type BusProcess, log } from './bus-fixtures.ts';
import { createAdminTables } from './failed.ts';

const MESSAGING = new URL('../../infra/messaging/migrations/', import.meta.url);

export interface Group {
  readonly name: string;
  /** The schema of its tables: outbox, inbox, effects. */
  readonly schema: string;
}

/** Creates the tables of a group. */
export async function createTables(database: Database, { schema }: Group): Promise<void> {
  await createAdminTables(database);
  await migrate(database, schema, await readMigrations(MESSAGING, 'messaging'));
  await database.script(`CREATE TABLE ${schema}.effects (
    event_id uuid, order_id uuid, data json, consumer text, reply_id uuid DEFAULT gen_random_uuid(), at timestamptz DEFAULT now())`);
}

export interface GroupConsumerOptions {
  readonly name?: string;
  /** Called before the transaction; throwing fails the attempt. */
  readonly prepare?: (event: Event) => Promise<void>;
  /** Called in the transaction, after the effects; throwing rolls them back. */
  readonly handle?: (events: readonly Event[]) => void;
  /** Before replies are resent, in the transaction; throwing fails the attempt. */
  readonly resendReplies?: (orderIds: readonly string[]) => void | Promise<void>;
  /** Before the inbox is given what arrived. */
  readonly receive?: () => Promise<void>;
  readonly attempts?: number;
  readonly retryMs?: number;
  readonly prefetch?: number;
  /** How long a row stays claimed by a consumer that is gone. */
  readonly leaseMs?: number;
  /** The interval of polls without a wake-up. */
  readonly pollMs?: number;
}

export class GroupConsumer {
  readonly inbox: Inbox;
  readonly failed: FailedMessages;
  readonly outcomes: HandlingOutcome[] = [];
  #subscription: Subscription | undefined;

  private constructor(database: Database, { schema }: Group, types: readonly string[], options: GroupConsumerOptions) {
    const { attempts = 3, retryMs = 20, prefetch = 50, leaseMs = 10_000, pollMs = 50 } = options;
    const outbox = new Outbox(schema);
    const handler = recordingHandler(schema, outbox, options);
    this.failed = new FailedMessages(database, schema);
    this.inbox = new Inbox({
      database,
      schema,
      catalogue: eventSchemas,
      handlers: Object.fromEntries(types.map((type) => [type, handler])),
      onDead: reportDead(outbox, 'step.failed', stepFailed('points')),
      attempts,
      retryBaseMs: retryMs,
      retryMaxMs: retryMs,
      leaseMs,
      prefetch,
      maxRows: prefetch,
      pollMs,
      retentionDays: 7,
      failedRetentionDays: 90,
      log,
      onOutcome: (_type, outcome) => this.outcomes.push(outcome),
    });
  }

  /** Subscribes the group, whose tables exist, over this process's connections. */
  static async join(
    { bus, database }: BusProcess,
    topology: Topology,
    group: Group,
    options: GroupConsumerOptions = {},
  ) {
    const consumer = new GroupConsumer(database, group, topology.groups[group.name] ?? [], options);
    consumer.inbox.start();
    consumer.#subscription = await bus.subscribe(group.name, receiverOf(consumer.inbox, options));
    return consumer;
  }

  get subscription(): Subscription {
    if (!this.#subscription) throw new Error('not subscribed yet');
    return this.#subscription;
  }

  /** In the order in which a service stops. */
  async close(): Promise<void> {
    await Promise.all([this.inbox.stop(), this.#subscription?.close()]);
  }

  /** Claims no more rows, and leaves those it has: the effect of kill -9 apart from the connections. */
  crash(): void {
    void this.inbox.stop();
  }
}

function receiverOf(inbox: Inbox, { receive }: GroupConsumerOptions): Receiver {
  if (!receive) return inbox;
  return {
    process: (batch) => receive().then(() => inbox.process(batch)),
    enqueue: (batch) => receive().then(() => inbox.enqueue(batch)),
    isolate: (batch) => inbox.isolate(batch),
    processOrEnqueue: (batch) => receive().then(() => inbox.processOrEnqueue(batch)),
    deadLetter: (batch, reason) => inbox.deadLetter(batch, reason),
    wake: () => inbox.wake(),
  };
}

function recordingHandler(
  schema: string,
  outbox: Outbox,
  { name, prepare, handle, resendReplies }: GroupConsumerOptions,
): AnyHandler {
  const replies = defineStatement({
    events: `SELECT reply_id AS event_id, 'points.awarded' AS type, order_id AS subject, at AS time,
        json_build_object('orderId', order_id, 'userId', 'alice', 'points', 1)::text AS data
      FROM ${schema}.effects WHERE order_id = ANY($1::uuid[])`,
    params: (orderIds: readonly string[]) => [orderIds],
  });
  return {
    ...(prepare ? { prepare } : {}),
    handle: async (tx, events: readonly Event[]) => {
      const effects = events.map(({ id, subject, data }) => ({
        event_id: id,
        order_id: subject,
        data,
        consumer: name,
      }));
      await tx.execute(
        `INSERT INTO ${schema}.effects (event_id, order_id, data, consumer)
         SELECT * FROM json_to_recordset($1::json) AS r (event_id uuid, order_id uuid, data json, consumer text)`,
        [JSON.stringify(effects)],
      );
      handle?.(events);
      const orderIds = effects.map(({ order_id }) => order_id);
      await outbox.write(tx, replies, orderIds);
    },
    resendReplies: async (tx, orderIds) => {
      await resendReplies?.(orderIds);
      await outbox.write(tx, replies, orderIds);
    },
  };
}
