// A service of the product (its tables, its handlers behind its inbox, its outbox) without the relay, the bus and the
// inbox's worker. Its caller passes the events on.
import type { Config } from '../../app/config.ts';
import { schemaOf } from '../../app/schemas.ts';
import { eventSchemas } from '../../contracts/events.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { IncomingMessage } from '../../infra/bus/port.ts';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import type { Database } from '../../infra/database/port.ts';
import { writeEvent } from '../../infra/messaging/envelope.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import { Outbox, type OutboxRow } from '../../infra/messaging/outbox.ts';
import type { AnyService, ServiceContext } from '../../infra/runtime/service.ts';

export interface Participant {
  readonly service: AnyService;
  readonly inbox: Inbox;
  readonly outbox: Outbox;
  /** Passes the events that an order caused in this service to `receive`, then deletes them from the outbox. */
  pass(orderId: string, receive: (events: readonly IncomingMessage[]) => Promise<void>): Promise<void>;
}

const MESSAGING_MIGRATIONS = new URL('../../infra/messaging/migrations/', import.meta.url);

/** Migrates the service's schema and connects the service to its inbox and outbox. */
export async function openParticipant(
  name: ServiceName,
  create: (context: ServiceContext<Config>) => AnyService,
  context: Omit<ServiceContext<Config>, 'outbox'>,
): Promise<Participant> {
  const { settings: config, database, log } = context;
  const schema = schemaOf(name);
  const outbox = new Outbox(schema);
  const service = create({ ...context, outbox });
  await migrate(database, schema, [
    ...(await readMigrations(MESSAGING_MIGRATIONS, 'messaging')),
    ...(await readMigrations(service.migrations, name)),
  ]);
  const inbox = new Inbox({
    database,
    schema,
    catalogue: eventSchemas,
    handlers: service.handlers,
    onDead: service.onDead,
    subjectName: service.subjectName,
    attempts: config.RETRY_ATTEMPTS,
    retryBaseMs: config.RETRY_BASE_MS,
    retryMaxMs: config.RETRY_MAX_MS,
    leaseMs: config.LEASE_MS,
    prefetch: config.PREFETCH,
    maxRows: config.PREFETCH,
    // Not started, so nothing polls or prunes.
    pollMs: 1_000,
    retentionDays: config.INBOX_RETENTION_DAYS,
    log,
  });
  const written = new WrittenRows(outbox, schema, database, config.LEASE_MS);
  return {
    service,
    inbox,
    outbox,
    pass: async (orderId, receive) => {
      const rows = written.take(orderId);
      await receive(
        rows.map((row) => ({ body: Buffer.from(writeEvent(eventSchemas, row, `/services/${name}`).body) })),
      );
      await Promise.all(rows.map(({ position }) => written.delete(position)));
    },
  };
}

/** Takes the rows of an outbox as they are written, in place of a relay, and holds those of orders under way. */
class WrittenRows {
  readonly #byOrder = new Map<string, OutboxRow[]>();
  readonly #deletions: GroupCommit<number, void>;

  constructor(outbox: Outbox, schema: string, database: Database, leaseMs: number) {
    outbox.connect('bus', {
      leaseMs: () => leaseMs,
      enqueue: (rows) => {
        for (const row of rows) this.#byOrder.set(row.subject, [...(this.#byOrder.get(row.subject) ?? []), row]);
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

  take(orderId: string): OutboxRow[] {
    const rows = this.#byOrder.get(orderId) ?? [];
    this.#byOrder.delete(orderId);
    return rows;
  }

  delete(position: number): Promise<void> {
    return this.#deletions.submit(position);
  }
}
