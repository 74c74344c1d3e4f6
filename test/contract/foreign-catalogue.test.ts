// Messaging with the events of another project, because infra/ must not depend on orders: two services of a lending
// library, with a catalogue of two events, on the local bus.
import { rm } from 'node:fs/promises';
import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { serverFolder } from '../../demos/shared/folder.ts';
import { LocalBus } from '../../infra/bus/local.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import { openPglite } from '../../infra/database/pglite.ts';
import type { Database } from '../../infra/database/port.ts';
import { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import type { CloudEvent, Handlers, OnDead } from '../../infra/messaging/handler.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import { InboxStore } from '../../infra/messaging/inbox-store.ts';
import { NEW_EVENTS, Outbox } from '../../infra/messaging/outbox.ts';
import { publishToBus, Relay } from '../../infra/messaging/relay.ts';
import type { Service } from '../../infra/runtime/service.ts';
import { newPglite } from '../setup/pglite.ts';
import { eventually } from '../setup/wait.ts';

const envelope = <Type extends string, Data extends z.ZodType>(type: Type, data: Data) =>
  z.object({
    specversion: z.literal('1.0'),
    id: z.uuid(),
    source: z.string(),
    type: z.literal(type),
    subject: z.uuid(),
    time: z.iso.datetime(),
    datacontenttype: z.literal('application/json'),
    data,
  });

const catalogue = {
  'book.lent': envelope('book.lent', z.object({ title: z.string(), reader: z.string() })),
  'fine.charged': envelope('fine.charged', z.object({ reader: z.string(), pence: z.int() })),
};
type Lent = z.infer<(typeof catalogue)['book.lent']>;
type Charged = z.infer<(typeof catalogue)['fine.charged']>;

const schemaOf = (group: string) => `library_${group}`;
/** Log lines of the services. */
const lines: Record<string, unknown>[] = [];
const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
const common = { leaseMs: 5_000, attempts: 1, maxRows: 100, pollMs: 50 };
const stops: (() => Promise<void>)[] = [];
let folder: string;
let database: Database;

beforeAll(async () => {
  folder = await serverFolder('library');
  await newPglite(folder);
  database = await openPglite({ dataDir: folder });
  const messaging = await readMigrations(new URL('../../infra/messaging/migrations/', import.meta.url), 'messaging');
  for (const group of ['desk', 'treasury']) await migrate(database, schemaOf(group), messaging);
});
afterAll(async () => {
  await database?.close();
  await rm(folder, { recursive: true });
});

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/** Wires a service to the bus as an application would. */
async function run<E extends CloudEvent>(
  name: string,
  bus: LocalBus,
  service: Pick<Service<E>, 'handlers' | 'onDead'> & { readonly outbox: Outbox; readonly subjectName?: string },
): Promise<void> {
  const { outbox, handlers, onDead, subjectName } = service;
  const own = { ...common, database, log: log.child({ service: name }) };
  const inbox = new Inbox({
    ...own,
    schema: schemaOf(name),
    catalogue,
    handlers,
    onDead,
    subjectName,
    prefetch: 10,
    retryBaseMs: 10,
    retryMaxMs: 10,
    retentionDays: 1,
    failedRetentionDays: 90,
  });
  const publisher = { bus, catalogue, source: `/library/${name}`, onPublished: () => {} };
  const publish = (rows: Parameters<typeof publishToBus>[1]) => publishToBus(publisher, rows);
  const relay = new Relay({ ...own, schema: schemaOf(name), channel: 'bus', publish });
  outbox.connect('bus', relay);
  inbox.start();
  relay.start();
  const subscription = await bus.subscribe(name, inbox);
  stops.push(async () => {
    await Promise.all([inbox.stop(), subscription.close()]);
    await relay.stop();
  });
}

test('publishes, handles and dead-letters events of another catalogue, each by its own schema', async () => {
  const bus = new LocalBus({
    database,
    inboxOf: (group) => new InboxStore(schemaOf(group)),
    topology: { prefix: 'library', groups: { treasury: ['book.lent'], desk: ['fine.charged'] } },
  });
  stops.push(() => bus.close());
  const charged: Charged[] = [];
  const treasuryOutbox = new Outbox(schemaOf('treasury'));
  const fine = (subject: string, reader: string, pence: number) => ({
    id: uuidv7(),
    type: 'fine.charged',
    subject,
    time: new Date(),
    data: { reader, pence },
  });
  const treasuryHandlers: Handlers<Lent> = {
    'book.lent': {
      handle: async (tx, events) => {
        if (events.some(({ data }) => data.reader === 'nobody')) throw new Error('no such reader');
        await treasuryOutbox.write(
          tx,
          NEW_EVENTS,
          events.map(({ subject, data }) => fine(subject, data.reader, 20)),
        );
      },
    },
  };
  // A service decides what a dead message causes: here, a fine of 0 pence.
  const onDead: OnDead = (tx, dead) =>
    treasuryOutbox.write(
      tx,
      NEW_EVENTS,
      dead.map(({ reportId, subject, failure }) => ({ ...fine(subject, failure, 0), id: reportId })),
    );
  await run('treasury', bus, {
    outbox: treasuryOutbox,
    handlers: treasuryHandlers,
    onDead,
    subjectName: 'bookId',
  });
  const deskOutbox = new Outbox(schemaOf('desk'));
  const deskHandlers: Handlers<Charged> = {
    'fine.charged': { handle: async (_tx, events) => void charged.push(...events) },
  };
  await run('desk', bus, { outbox: deskOutbox, handlers: deskHandlers });

  const [good, bad] = [uuidv7(), uuidv7()];
  const lent = (subject: string, reader: string) => ({
    id: uuidv7(),
    type: 'book.lent',
    subject,
    time: new Date(),
    data: { title: 'Middlemarch', reader },
  });
  await database.transaction((tx) =>
    deskOutbox.write(tx, NEW_EVENTS, [lent(good, 'dorothea'), lent(bad, 'nobody'), { ...lent(good, 'x'), data: {} }]),
  );
  await eventually(() => charged.length === 2, { what: 'both fines', timeoutMs: 20_000 });

  expect(charged.find(({ subject }) => subject === good)).toMatchObject({
    source: '/library/treasury',
    data: { reader: 'dorothea', pence: 20 },
  });
  expect(charged.find(({ subject }) => subject === bad)?.data).toEqual({
    reader: 'the message was not handled',
    pence: 0,
  });
  const failed = new FailedMessages(database, schemaOf('treasury'));
  expect(await failed.list({ status: 'dead' }, undefined, 10)).toMatchObject([{ subject: bad }]);
  // An event that does not match its schema is never published.
  const outbox = () => database.query(`SELECT type, error FROM ${schemaOf('desk')}.outbox`);
  await eventually(async () => (await outbox()).length === 1, { what: 'the published rows are deleted' });
  expect(await outbox()).toMatchObject([{ type: 'book.lent', error: expect.stringContaining('title') }]);
  // Log lines name the subject by the service's `subjectName`.
  const handled = (service: string) => lines.filter((line) => line.service === service && line.outcome === 'done');
  expect(handled('treasury')).toMatchObject([{ event: 'book.lent', bookId: good }]);
  expect(handled('desk').map(({ subject }) => subject)).toEqual(expect.arrayContaining([good, bad]));
});
