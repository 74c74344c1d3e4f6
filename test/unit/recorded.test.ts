// What earlier versions have said and answered (test/fixtures), by the contracts of this one; upgrade.test.ts starts this
// one on what they have stored.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { ZodType } from 'zod';
import { type EventType, eventSchemas, eventTypes } from '../../contracts/events.ts';
import { factLists, factsPage, messagesAbout, messagesSummary, resendRequest } from '../../contracts/facts.ts';
import { createFlashSaleRequest, purchaseRequest } from '../../contracts/flash-sales.ts';
import { cancelRequest, placeOrderRequest } from '../../contracts/orders.ts';
import { MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import { fixture, recordedVersions } from '../fixtures/folder.ts';
import { migrationHashes } from '../fixtures/migrations.ts';
import type { RecordedAnswer } from '../fixtures/recorded-system.ts';

const escaped = (path: string) => new RegExp(`^/audit/${path}(\\?|$)`);

/** Of answers that have one, by their path. One for a further answer belongs here. */
const answerSchemas: readonly (readonly [path: RegExp, schema: ZodType])[] = [
  [/^\/audit\/[a-z-]+\/messages$/, messagesSummary],
  [/^\/audit\/[a-z-]+\/messages\?ids=/, messagesAbout],
  ...Object.entries(factLists).map(([list, fact]) => [escaped(list), factsPage(fact as ZodType)] as const),
];

/** Of requests with a JSON body, by their path. */
const requestSchemas: readonly (readonly [path: RegExp, schema: ZodType])[] = [
  [/^\/orders$/, placeOrderRequest],
  [/^\/orders\/[^/]+\/cancel$/, cancelRequest],
  [/^\/flash-sales$/, createFlashSaleRequest],
  [/^\/flash-sales\/[^/]+\/purchases$/, purchaseRequest],
  [/^\/audit\/[a-z-]+\/resend$/, resendRequest],
];

const schemaOf = (schemas: typeof answerSchemas, { request }: RecordedAnswer) =>
  schemas.find(([path]) => path.test(request.path))?.[1];

const filesOf = (version: string, folder: string): (readonly [name: string, text: string])[] =>
  readdirSync(fixture(version, folder)).map((name) => [
    name.replace('.json', ''),
    readFileSync(fixture(version, `${folder}/${name}`), 'utf8'),
  ]);

describe.for(recordedVersions())('%s', (version) => {
  const events = filesOf(version, 'events');
  const answers = filesOf(version, 'answers').map(
    ([name, text]) => [name, JSON.parse(text) as RecordedAnswer] as const,
  );

  test.for(events)('the event %s is read, whole', ([, body]) => {
    const event = JSON.parse(body) as { type: EventType };
    expect(eventSchemas[event.type]?.parse(event)).toMatchObject(event);
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_EVENT_BYTES);
  });

  test('there is an event of every type that was known', () => {
    const types = new Set(events.map(([, body]) => (JSON.parse(body) as { type: EventType }).type));
    expect(eventTypes).toEqual(expect.arrayContaining([...types]));
    expect(types.size).toBeGreaterThanOrEqual(12);
  });

  test.for(answers.filter(([, answer]) => answer.status < 300 && schemaOf(answerSchemas, answer)))(
    'the answer %s is read, whole',
    ([, answer]) => {
      expect(schemaOf(answerSchemas, answer)?.parse(answer.body)).toMatchObject(answer.body as object);
    },
  );

  const isJson = ({ request }: RecordedAnswer) => request.headers?.['content-type'] === 'application/json';
  test.for(answers.filter(([, answer]) => answer.status < 300 && isJson(answer)))(
    'the request of %s is still valid',
    ([, answer]) => {
      const body = JSON.parse(String(answer.request.body)) as object;
      expect(schemaOf(requestSchemas, answer)?.parse(body)).toMatchObject(body);
    },
  );

  test('its migrations are what they were', async () => {
    const recorded = JSON.parse(readFileSync(fixture(version, 'migrations.json'), 'utf8')) as Record<string, string>;
    expect(await migrationHashes()).toMatchObject(recorded);
  });
});
