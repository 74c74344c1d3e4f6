// A service with its own tables, its inbox and its outbox, and nothing around it: no bus delivers to it, and what it says
// stays in its outbox.
import { v7 as uuidv7 } from 'uuid';
import { expect } from 'vitest';
import { type Config, parseConfig } from '../../app/config.ts';
import { schemaOf } from '../../app/schemas.ts';
import { type EventData, type EventType, eventSchemas } from '../../contracts/events.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import type { Database } from '../../infra/database/port.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import { createMetrics } from '../../infra/observability/metrics.ts';
import type { AnyService, ServiceContext } from '../../infra/runtime/service.ts';
import { log } from './bus-fixtures.ts';

const MESSAGING = new URL('../../infra/messaging/migrations/', import.meta.url);
const config = parseConfig({ RESEND_AFTER_MS: '100' });

/** Something that a service said. */
interface Said {
  readonly event_id: string;
  readonly type: string;
  readonly data: string;
}

export interface ServiceAlone {
  readonly service: AnyService;
  /** Hands messages to it together. Resolves when they are handled; a handler that fails fails the test. */
  tell(...bodies: Buffer[]): Promise<void>;
  /** As after INBOX_RETENTION_DAYS. */
  forget(): Promise<unknown>;
  /** What it said about this order or ticket, in order. */
  said(subject: string): Promise<Said[]>;
}

/** Opened twice on one database, it is two processes of the service. */
export async function openAlone(
  database: Database,
  name: ServiceName,
  create: (context: ServiceContext<Config>) => AnyService,
): Promise<ServiceAlone> {
  const schema = schemaOf(name);
  const outbox = new Outbox(schema);
  const service = create({ settings: config, database, outbox, metrics: createMetrics(), log });
  const migrations = [
    ...(await readMigrations(MESSAGING, 'messaging')),
    ...(await readMigrations(service.migrations, name)),
  ];
  await migrate(database, schema, migrations);
  const inbox = new Inbox({
    database,
    schema,
    catalogue: eventSchemas,
    handlers: service.handlers,
    onDead: service.onDead,
    subjectName: service.subjectName,
    attempts: 1,
    retryBaseMs: 10,
    retryMaxMs: 10,
    leaseMs: 10_000,
    prefetch: 100,
    maxRows: 100,
    log,
  });
  return {
    service,
    async tell(...bodies) {
      await inbox.handle(bodies.map((body) => ({ body })));
      expect(await inbox.failed.list({}, undefined, 10)).toEqual([]);
    },
    forget: () => database.execute(`DELETE FROM ${schema}.inbox`),
    said: (subject) =>
      database.query<Said>(
        `SELECT event_id, type, data FROM ${schema}.outbox WHERE subject = $1 AND channel = 'bus' ORDER BY position`,
        [subject],
      ),
  };
}

/** An event as it arrives. */
export function eventBody<T extends EventType>(type: T, subject: string, data: EventData<T>, id = uuidv7()): Buffer {
  const time = new Date().toISOString();
  const event = { specversion: '1.0', id, source: '/services/test', type, subject, time, data };
  return Buffer.from(JSON.stringify({ ...event, datacontenttype: 'application/json' }));
}
