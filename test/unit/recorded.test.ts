// The events, responses and requests of earlier versions (test/fixtures), parsed with this version's contracts.
// upgrade.test.ts starts this version on their stored data.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type EventType, eventSchemas, eventTypes } from '../../contracts/events.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import { matchesPath } from '../../contracts/routes/route.ts';
import { MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import { fixture, recordedVersions, renamed } from '../fixtures/folder.ts';
import { migrationHashes } from '../fixtures/migrations.ts';
import type { RecordedAnswer } from '../fixtures/recorded-system.ts';
import { responseSchema } from '../setup/response.ts';

const requestSchemaOf = ({ request: { method, path } }: RecordedAnswer) =>
  Object.values(routesOf()).find((route) => route.method.toUpperCase() === method && matchesPath(route.path, path))
    ?.body?.schema;
/** None for failed messages of 0.1.0, which did not send `payloadBytes` and `truncated`. */
const responseSchemaOf = (version: string, { request: { method, path }, status }: RecordedAnswer) =>
  version === '0.1.0' && status < 300 && path.startsWith('/failed-messages/')
    ? undefined
    : responseSchema(method, path.split('?')[0] ?? '', status);

const filesOf = (version: string, folder: string): (readonly [name: string, text: string])[] =>
  readdirSync(fixture(version, folder)).map((name) => [
    name.replace('.json', ''),
    readFileSync(fixture(version, `${folder}/${name}`), 'utf8'),
  ]);

describe.for(recordedVersions())('%s', (version) => {
  const events = filesOf(version, 'events');
  const answers = filesOf(version, 'answers').map(
    ([name, text]) => [name, renamed(version, JSON.parse(text) as RecordedAnswer)] as const,
  );
  const isJson = ({ headers }: { readonly headers?: Readonly<Record<string, unknown>> }) =>
    /json/.test(String(headers?.['content-type']));

  test.for(events)('the event %s is still parsed, with all its fields', ([, body]) => {
    const event = JSON.parse(body) as { type: EventType };
    expect(eventSchemas[event.type]?.parse(event)).toMatchObject(event);
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_EVENT_BYTES);
  });

  test('has an event of each of its types', () => {
    const types = new Set(events.map(([, body]) => (JSON.parse(body) as { type: EventType }).type));
    expect(eventTypes).toEqual(expect.arrayContaining([...types]));
    expect(types.size).toBeGreaterThanOrEqual(12);
  });

  test.for(answers.filter(([, answer]) => isJson(answer) && responseSchemaOf(version, answer)))(
    'the response %s is still parsed, with all its fields',
    ([, answer]) => {
      expect(responseSchemaOf(version, answer)?.parse(answer.body)).toMatchObject(answer.body as object);
    },
  );

  test.for(answers.filter(([, answer]) => answer.status < 300 && isJson(answer.request)))(
    'the request of %s is still valid',
    ([, answer]) => {
      const body = JSON.parse(String(answer.request.body)) as object;
      expect(requestSchemaOf(answer)?.parse(body)).toMatchObject(body);
    },
  );

  test('its migrations are unchanged', async () => {
    const recorded = JSON.parse(readFileSync(fixture(version, 'migrations.json'), 'utf8')) as Record<string, string>;
    expect(await migrationHashes()).toMatchObject(recorded);
  });
});
