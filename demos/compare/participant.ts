// A service of the product (its tables, its handlers behind its inbox, its outbox) without the relay, the bus and the
// inbox's worker. Its caller migrates the tables, and passes the events on.
import type { Config } from '../../app/config.ts';
import { inboxOptions } from '../../app/consumer.ts';
import { schemaOf } from '../../app/schemas.ts';
import { eventSchemas } from '../../contracts/events.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { IncomingMessage } from '../../infra/bus/port.ts';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import { writeEvent } from '../../infra/messaging/envelope.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import { Outbox, type OutboxRow } from '../../infra/messaging/outbox.ts';
import type { AnyService, ServiceContext } from '../../infra/runtime/service.ts';

export type ParticipantContext = Omit<ServiceContext<Config>, 'outbox'>;

export class Participant {
  readonly name: ServiceName;
  readonly service: AnyService;
  readonly inbox: Inbox;
  readonly outbox: Outbox;
  /** Outbox rows as they are written, by order. pass() publishes them, because this service has no relay. */
  readonly #rows = new Map<string, OutboxRow[]>();
  readonly #deletions: GroupCommit<number, void>;

  constructor(name: ServiceName, create: (context: ServiceContext<Config>) => AnyService, context: ParticipantContext) {
    const { settings: config, database, log } = context;
    const schema = schemaOf(name);
    this.name = name;
    this.outbox = new Outbox(schema);
    this.service = create({ ...context, outbox: this.outbox });
    this.inbox = new Inbox({
      ...inboxOptions(this.service, config),
      database,
      schema,
      log,
      maxRows: config.PREFETCH,
      pollMs: 1_000, // not started, so nothing polls or prunes
    });
    this.outbox.connect('bus', {
      leaseMs: () => config.LEASE_MS,
      enqueue: (rows) => {
        for (const row of rows) this.#rows.set(row.subject, [...(this.#rows.get(row.subject) ?? []), row]);
      },
      wake: () => {}, // with a lease, every row is enqueued
    });
    this.#deletions = new GroupCommit<number, void>({
      run: async (positions) => {
        await database.execute(`DELETE FROM ${schema}.outbox WHERE position = ANY($1::bigint[])`, [positions]);
        return positions.map(() => undefined);
      },
      key: () => '',
      maxBatch: 500,
      maxWaiting: 5_000,
    });
  }

  /** Passes the events that an order caused in this service to `receive`, then deletes them from the outbox. */
  async pass(orderId: string, receive: (events: readonly IncomingMessage[]) => Promise<void>): Promise<void> {
    const rows = this.#rows.get(orderId) ?? [];
    this.#rows.delete(orderId);
    const source = `/services/${this.name}`;
    await receive(rows.map((row) => ({ body: Buffer.from(writeEvent(eventSchemas, row, source).body) })));
    await Promise.all(rows.map(({ position }) => this.#deletions.submit(position)));
  }
}
