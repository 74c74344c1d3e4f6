// A service of the product (its tables, its handlers behind its inbox, its outbox) without the relay, the bus and the
// inbox's worker. Its caller passes the events on.
import type { Config } from '../../app/config.ts';
import { schemaOf } from '../../app/schemas.ts';
import { eventSchemas } from '../../contracts/events.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { IncomingMessage } from '../../infra/bus/port.ts';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import { writeEvent } from '../../infra/messaging/envelope.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import { type ClaimedRow, Outbox } from '../../infra/messaging/outbox.ts';
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
    log,
  });
  const written = takeWritten(outbox, context);
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

/** Takes the rows of the outbox as they are written, in place of a relay. Holds the rows of orders under way. */
function takeWritten(outbox: Outbox, { database, settings: config }: Omit<ServiceContext<Config>, 'outbox'>) {
  const written = new Map<string, ClaimedRow[]>();
  outbox.connect('bus', {
    leaseMs: () => config.LEASE_MS,
    offer: (rows) => {
      for (const row of rows) written.set(row.subject, [...(written.get(row.subject) ?? []), row]);
    },
    wake: () => {}, // with a lease, every row is handed over
  });
  const deletions = new GroupCommit<number, void>({
    run: async (positions) => {
      await outbox.turnOver(database, 'bus', positions, config.LEASE_MS, 0);
      return positions.map(() => undefined);
    },
    key: () => '',
    maxBatch: 500,
    maxWaiting: 5_000,
  });
  return {
    take: (orderId: string): ClaimedRow[] => {
      const rows = written.get(orderId) ?? [];
      written.delete(orderId);
      return rows;
    },
    delete: (position: number) => deletions.submit(position),
  };
}
