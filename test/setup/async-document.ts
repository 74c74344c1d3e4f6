// An AsyncAPI document as a reader of messages: which channel an MQTT topic belongs to, and whether a message matches
// the schemas of the document.
import { z } from 'zod';
import type { AsyncApiDocument } from '../../infra/documents/asyncapi/types.ts';
import type { JsonSchema } from '../../infra/documents/json-schema.ts';

const readers = new WeakMap<JsonSchema, z.ZodType>();

/** A validator of a schema of the document, made from the document alone. */
export function readerOf(document: AsyncApiDocument, schema: JsonSchema): z.ZodType {
  const known = readers.get(schema);
  if (known) return known;
  const reader = createReader(document, schema);
  readers.set(schema, reader);
  return reader;
}

function createReader({ components }: AsyncApiDocument, schema: JsonSchema): z.ZodType {
  const refers = JSON.stringify(schema).includes('"$ref"');
  const whole = refers ? { ...schema, definitions: components.schemas } : schema;
  const text = JSON.stringify(whole).replaceAll('#/components/schemas/', '#/definitions/');
  return z.fromJSONSchema(JSON.parse(text) as Parameters<typeof z.fromJSONSchema>[0], { defaultTarget: 'draft-7' });
}

/** The channels whose address matches the topic; `{name}` in an address stands for one level. */
export const channelsOfTopic = ({ channels }: AsyncApiDocument, topic: string): string[] =>
  Object.entries(channels)
    .filter(([, { address }]) => address !== null && patternOf(address).test(topic))
    .map(([name]) => name);

const patternOf = (address: string): RegExp =>
  new RegExp(`^${address.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`);
