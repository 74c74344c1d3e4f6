// One service with its tables, inbox and outbox, but without a bus: its events stay in its outbox.
import { v7 as uuidv7 } from 'uuid';
import { expect } from 'vitest';
import { type Config, parseConfig } from '../../app/config.ts';
import { schemaOf } from '../../app/schemas.ts';
import type { EventData, EventType } from '../../contracts/events.ts';
import { emissions, type ServiceName, SUBJECT_NAME } from '../../contracts/services.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import type { Database } from '../../infra/database/port.ts';
import { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import type { AnyService, ServiceContext } from '../../infra/runtime/service.ts';
import { log } from './bus-fixtures.ts';
import { createAdminTables } from './failed.ts';
import { createInbox } from './inbox.ts';

const MESSAGING = new URL('../../infra/messaging/migrations/', import.meta.url);
const config = parseConfig({ RESEND_AFTER_MS: '100' });

/** An event that a service emitted. */
interface Said {
  readonly event_id: string;
  readonly type: string;
  readonly data: string;
}

export interface ServiceAlone {
  readonly service: AnyService;
  /** Delivers messages as one batch. Resolves when they are handled; an error of a handler fails the test. */
  tell(...bodies: Buffer[]): Promise<void>;
  /** Delivers messages that may become dead. Call `forget` afterwards, or `tell` finds them. */
  receive(...bodies: Buffer[]): Promise<void>;
  /** Empties the inbox, as after INBOX_RETENTION_DAYS. */
  forget(): Promise<unknown>;
  /** Its events about this order or ticket, in order. An event that the service does not declare fails the test. */
  said(subject: string): Promise<Said[]>;
}

/** Opened twice on one database, it behaves like two processes of the service. */
export async function openAlone(
  database: Database,
  name: ServiceName,
  create: (context: ServiceContext<Config>) => AnyService,
): Promise<ServiceAlone> {
  const schema = schemaOf(name);
  const outbox = new Outbox(schema);
  const wakeWorker = () => {};
  const service = create({ settings: config, database, outbox, metrics: new Metrics(), log, wakeWorker });
  const migrations = [
    ...(await readMigrations(MESSAGING, 'messaging')),
    ...(await readMigrations(service.migrations, name)),
  ];
  await createAdminTables(database);
  await migrate(database, schema, migrations);
  const inbox = createInbox(database, schema, {
    handlers: service.handlers,
    onDead: service.onDead,
    subjectName: SUBJECT_NAME,
  });
  return {
    service,
    receive: (...bodies) => inbox.process(bodies.map((body) => ({ body }))),
    async tell(...bodies) {
      await inbox.process(bodies.map((body) => ({ body })));
      expect(await new FailedMessages(database, schema).list({}, undefined, 10)).toEqual([]);
    },
    forget: () => database.execute(`DELETE FROM ${schema}.inbox`),
    async said(subject) {
      const said = await database.query<Said>(
        `SELECT event_id, type, data FROM ${schema}.outbox WHERE subject = $1 AND channel = 'bus' ORDER BY position`,
        [subject],
      );
      for (const { type } of said) expect(emissions[name]).toContain(type);
      return said;
    },
  };
}

/** An event as a message. */
export function eventBody<T extends EventType>(type: T, subject: string, data: EventData<T>, id = uuidv7()): Buffer {
  const time = new Date().toISOString();
  const event = { specversion: '1.0', id, source: '/services/test', type, subject, time, data };
  return Buffer.from(JSON.stringify({ ...event, datacontenttype: 'application/json' }));
}
