// A service as the product makes it, without what runs it: its tables, its handlers behind its inbox, its outbox. Who
// holds it calls the inbox and takes the outbox's events, as a bus and a relay would.
import type { ServiceName } from '../../contracts/services.ts';
import type { IncomingMessage } from '../../infra/bus/port.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import { writeEvent } from '../../infra/messaging/envelope.ts';
import type { AnyHandlers } from '../../infra/messaging/handler.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import { type ClaimedRow, Outbox } from '../../infra/messaging/outbox.ts';
import { type AnyService, type ServiceContext, schemaOf } from '../../services/service.ts';

export interface Participant {
  readonly service: AnyService;
  readonly inbox: Inbox;
  readonly outbox: Outbox;
  /** Removes an order's events from the outbox, as they go over the wire. */
  take(orderId: string): Promise<IncomingMessage[]>;
}

const MESSAGING_MIGRATIONS = new URL('../../infra/messaging/migrations/', import.meta.url);

/** Brings the service's schema up to date and wires the service to its inbox and outbox. */
export async function openParticipant(
  name: ServiceName,
  create: (context: ServiceContext) => AnyService,
  context: Omit<ServiceContext, 'outbox'>,
): Promise<Participant> {
  const { config, database, log } = context;
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
    handlers: service.handlers as AnyHandlers,
    outbox,
    step: service.step,
    attempts: config.RETRY_ATTEMPTS,
    retryBaseMs: config.RETRY_BASE_MS,
    retryMaxMs: config.RETRY_MAX_MS,
    leaseMs: config.LEASE_MS,
    prefetch: config.PREFETCH,
    log,
  });
  return {
    service,
    inbox,
    outbox,
    take: async (orderId) => {
      const rows = await database.query<ClaimedRow>(
        `DELETE FROM ${schema}.outbox WHERE channel = 'bus' AND subject = $1
         RETURNING position, event_id, type, subject, time, data, failures`,
        [orderId],
      );
      return rows.map((row) => ({ body: Buffer.from(writeEvent(row, `/services/${name}`).body) }));
    },
  };
}
