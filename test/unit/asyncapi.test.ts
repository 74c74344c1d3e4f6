// The AsyncAPI document: its names, its messages, and its copy in docs/. test/service/workflow.test.ts compares it with
// running systems, test/long/asyncapi.test.ts validates it.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { asyncApiOf } from '../../app/documents/asyncapi.ts';
import { contractFiles } from '../../app/documents/contracts.ts';
import { eventExamples, notificationExample } from '../../contracts/event-examples.ts';
import { type EventType, eventSchemas, eventTypes } from '../../contracts/events.ts';
import { emissions, type ServiceName, serviceNames, subscriptions } from '../../contracts/services.ts';
import { notification } from '../../contracts/users.ts';
import { logLine } from '../../infra/documents/asyncapi/document.ts';
import type { AsyncApiDocument } from '../../infra/documents/asyncapi/types.ts';
import { createLog } from '../../infra/observability/log.ts';
import { fixture, recordedVersions } from '../fixtures/folder.ts';
import { readerOf } from '../setup/async-document.ts';

const all = asyncApiOf({ services: serviceNames, buses: ['rabbitmq', 'mqtt', 'local'], prefix: 'sluice' });
const addresses = ({ channels }: AsyncApiDocument) => Object.values(channels).map(({ address }) => address);

/** The recorded events of every version. */
const recorded = recordedVersions().flatMap((version) =>
  readdirSync(fixture(version, 'events')).map(
    (name) =>
      [
        `${version}/${name}`,
        JSON.parse(readFileSync(fixture(version, `events/${name}`), 'utf8')) as {
          type: EventType;
          source: string;
          data: object;
        },
      ] as const,
  ),
);

test('the version of the document is that of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(all.info.version).toBe(version);
});

describe('the names', () => {
  test('are those that clients and operators know', () => {
    expect(addresses(all)).toEqual(
      expect.arrayContaining([
        'order.placed',
        'order.placed.ticket',
        'sluice.points',
        'sluice.points.dead',
        'sluice/events/order/placed',
        'sluice/events/flash-sale/ticket/accepted',
        'sluice/live/points/awarded',
        'sluice/users/{userId}/notifications',
        'sluice/logs/{service}',
        'sluice/services/{service}/{instance}',
      ]),
    );
    expect(all.channels['rabbitmq.order.placed']?.bindings).toMatchObject({
      amqp: { is: 'routingKey', exchange: { name: 'sluice.events', type: 'topic' } },
    });
    expect(all.servers['mqtt-session-flash-sale']?.bindings).toMatchObject({
      mqtt: { clientId: 'sluice-flash-sale', cleanSession: false },
    });
    expect(all.servers['mqtt-presence']?.bindings).toMatchObject({
      mqtt: { lastWill: { topic: 'sluice/services/{service}/{instance}', message: 'offline', retain: true } },
    });
  });

  test('begin with the prefix, except routing keys', () => {
    const { channels } = asyncApiOf({ services: serviceNames, buses: ['rabbitmq', 'mqtt', 'local'], prefix: 'shop' });
    for (const { address, bindings } of Object.values(channels))
      if (address !== null && !JSON.stringify(bindings ?? {}).includes('"routingKey"'))
        expect(address).toMatch(/^shop[./]/);
    expect(JSON.stringify(channels)).not.toContain('"sluice');
  });

  test('the flash-sale service receives only the orders of tickets on RabbitMQ', () => {
    expect(all.channels['rabbitmq.queue.flash-sale']?.['x-binding-keys']).toContain('order.placed.ticket');
    expect(all.channels['rabbitmq.queue.points']?.['x-binding-keys']).toContain('order.placed.#');
  });
});

describe('a process', () => {
  const points = asyncApiOf({ services: ['points'], buses: ['rabbitmq'], prefix: 'sluice' });

  test('describes what its own services send and receive, on its own bus', () => {
    const operations = Object.values(points.operations);
    expect(new Set(operations.flatMap(({ tags }) => tags.map(({ name }) => name)))).toEqual(new Set(['points']));
    expect(Object.keys(points.components.messages)).toEqual(
      expect.arrayContaining([...subscriptions.points, ...emissions.points]),
    );
    expect(points.components.messages).not.toHaveProperty(['coupon.issued']);
    expect(points.components.messages).not.toHaveProperty('notification');
    expect(addresses(points)).not.toContain('sluice.order');
    expect(Object.keys(points.channels).filter((name) => /^(mqtt|local)\./.test(name))).toEqual([]);
  });

  test.each(serviceNames)('%s sends and receives the declared events on every bus', (service) => {
    const typesOf = (action: string, bus: string) =>
      Object.entries(all.operations)
        .filter(([name, its]) => name.startsWith(`${bus}.${service}.`) && its.action === action)
        .flatMap(([, { messages }]) => messages.map(({ $ref }) => $ref.split('/').at(-1)))
        .filter((type) => eventTypes.includes(type as EventType));
    for (const bus of ['rabbitmq', 'mqtt', 'local']) {
      expect(new Set(typesOf('send', bus))).toEqual(new Set(emissions[service]));
      expect(new Set(typesOf('receive', bus))).toEqual(new Set(subscriptions[service]));
    }
  });
});

describe('the messages', () => {
  const reader = (type: EventType) => readerOf(all, all.components.schemas[type] ?? {});

  test.each(eventTypes)('the example of %s matches its schema, and that in the document', (type) => {
    const example = all.components.messages[type]?.examples?.[0]?.payload;
    expect(example).toEqual(eventExamples[type]);
    expect(eventSchemas[type].parse(example)).toEqual(example);
    expect(reader(type).parse(example)).toEqual(example);
  });

  test('the example of a notification matches its schema', () => {
    expect(notification.parse(notificationExample)).toEqual(notificationExample);
    expect(readerOf(all, all.components.schemas.notification ?? {}).parse(notificationExample)).toEqual(
      notificationExample,
    );
  });

  test.each(recorded)(
    'the recorded event %s matches the document, and not without one of its fields',
    (_name, event) => {
      expect(reader(event.type).safeParse(event).error).toBeUndefined();
      for (const field of Object.keys(event)) {
        const { [field]: _, ...rest } = event as Record<string, unknown>;
        expect([field, reader(event.type).safeParse(rest).success]).toEqual([field, false]);
      }
      expect(reader(event.type).safeParse({ ...event, data: { ...event.data, userId: 7, orderId: 7 } }).success).toBe(
        false,
      );
    },
  );

  test('events have a description, and each of their own fields too', () => {
    for (const type of eventTypes) {
      expect(all.components.messages[type]?.summary).toMatch(/\.$/);
      const { properties } = all.components.schemas[type] as { properties: { data: { properties: object } } };
      const undescribed = Object.entries(properties.data.properties).filter(([, field]) => !('description' in field));
      expect(undescribed.map(([name]) => `${type}: ${name}`).filter((name) => !/: (step|item)$/.test(name))).toEqual(
        [],
      );
    }
  });

  test('a batch holds events, and nothing else', () => {
    const batch = readerOf(all, all.components.messages.batch?.payload ?? {});
    expect(batch.safeParse(Object.values(eventExamples)).error).toBeUndefined();
    expect(batch.safeParse([notificationExample]).success).toBe(false);
    expect(batch.safeParse(Array(201).fill(eventExamples['order.placed'])).success).toBe(false);
  });

  test('a line of the log matches the schema of log lines', () => {
    let line = '';
    const log = createLog({ level: 'info', pretty: false, destination: { write: (text) => (line += text) } });
    log.child({ service: 'points' }).info({ event: 'order.placed', orderId: 'x', ms: 3, outcome: 'done' }, 'done');
    expect(logLine('orderId').parse(JSON.parse(line))).toMatchObject({ service: 'points', outcome: 'done' });
    const reader = readerOf(all, all.components.schemas['log-line'] ?? {});
    expect(reader.safeParse(JSON.parse(line)).error).toBeUndefined();
    expect(reader.safeParse({ ...(JSON.parse(line) as object), ms: 'soon' }).success).toBe(false);
  });
});

test('the services published the declared events when they were recorded, and no other', () => {
  const pairs = new Set(recorded.map(([, { source, type }]) => `${source.replace('/services/', '')} ${type}`));
  const declared = serviceNames.flatMap((service: ServiceName) =>
    emissions[service].map((type) => `${service} ${type}`),
  );
  for (const pair of pairs) expect(declared).toContain(pair);
  // Not recorded, but reported in test/contract/cancellation.test.ts.
  expect(declared.filter((pair) => !pairs.has(pair))).toEqual(['coupon step.failed']);
});

test.each(Object.entries(contractFiles()))('docs/%s is up to date (`npx sluice contracts` writes it)', (name, text) => {
  // Not compared as one text, whose difference would be thousands of lines.
  const copy = readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');
  const [was, is] = [copy.split('\n'), text.split('\n')];
  const at = is.findIndex((line, index) => line !== was[index]);
  expect([at + 1, was[at], was.length]).toEqual([at + 1, is[at], is.length]);
});
