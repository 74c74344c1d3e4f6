// The AsyncAPI documents, validated by the parser of the AsyncAPI project. Here because the parser takes seconds.
import { DiagnosticSeverity, Parser } from '@asyncapi/parser';
import { describe, expect, test } from 'vitest';
import { asyncApiOf } from '../../app/documents/asyncapi.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import type { Bus } from '../../infra/bus/port.ts';

/** The parser knows a newer version of AsyncAPI and recommends it. */
const ignored = 'asyncapi-latest-version';

async function findings(document: object): Promise<string[]> {
  const { diagnostics, document: parsed } = await new Parser().parse(JSON.stringify(document));
  const found = diagnostics
    .filter(({ code }) => code !== ignored)
    .map(
      ({ severity, code, message, path }) => `${DiagnosticSeverity[severity]} ${code} at ${path.join('.')}: ${message}`,
    );
  return [...found, ...(parsed ? [] : ['the document was not parsed'])];
}

describe('the AsyncAPI document is valid', () => {
  test('of all services, with every bus', async () => {
    expect(
      await findings(asyncApiOf({ services: serviceNames, buses: ['rabbitmq', 'mqtt', 'local'], prefix: 'sluice' })),
    ).toEqual([]);
  });

  const buses: readonly (readonly [ServiceName, Bus['kind']])[] = [
    ['order', 'rabbitmq'],
    ['points', 'mqtt'],
    ['notify', 'local'],
  ];
  test.each(buses)('of %s alone, on the bus %s', async (service, bus) => {
    expect(await findings(asyncApiOf({ services: [service], buses: [bus], prefix: 'shop' }))).toEqual([]);
  });
});

test('the parser finds a reference to nothing, and a binding that is none', async () => {
  const document = asyncApiOf({ services: ['points'], buses: ['rabbitmq'], prefix: 'sluice' });
  const text = JSON.stringify(document);
  expect(
    await findings(JSON.parse(text.replaceAll('components/messages/step.failed', 'components/messages/no'))),
  ).not.toEqual([]);
  expect(await findings(JSON.parse(text.replaceAll('"is":"queue"', '"is":"pipe"')))).not.toEqual([]);
});
