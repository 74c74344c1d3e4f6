// The contracts of all services as files, for programs that generate clients or compare versions.
import { serviceNames } from '../../contracts/services.ts';
import { parseConfig } from '../config.ts';
import { asyncApiOf } from './asyncapi.ts';
import { openApiOf } from './openapi.ts';

/** The text of each file by its name: every service and every event bus, with the default names. */
export function contractFiles(): Readonly<Record<string, string>> {
  const { BUS_PREFIX: prefix } = parseConfig({});
  const asyncapi = asyncApiOf({ services: serviceNames, buses: ['rabbitmq', 'mqtt', 'local'], prefix });
  return { 'openapi.json': textOf(openApiOf(serviceNames)), 'asyncapi.json': textOf(asyncapi) };
}

/** The keys have the order in which they are added, so equal contracts are equal texts. */
const textOf = (document: object): string => `${JSON.stringify(document, null, 2)}\n`;
