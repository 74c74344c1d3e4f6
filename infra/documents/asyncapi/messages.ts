// The messages of an AsyncAPI document: each event type, and several events in one message.
import type { z } from 'zod';
import { EVENT_CONTENT_TYPE, MAX_BATCH_EVENTS, MAX_EVENT_BYTES } from '../../bus/port.ts';
import { BATCH_CONTENT_TYPE, MAX_BATCH_BYTES } from '../../bus/rabbitmq/batch.ts';
import type { EventCatalogue } from '../../messaging/handler.ts';
import { type JsonSchema, jsonSchemaOf } from '../json-schema.ts';
import { BATCH_MESSAGE, ref } from './parts.ts';
import type { Message } from './types.ts';

const SCHEMAS = '#/components/schemas/';

export interface Components {
  readonly schemas: Record<string, JsonSchema>;
  readonly messages: Record<string, Message>;
}

/** Adds a schema under `name`, with the named schemas inside it. */
export function addSchema({ schemas }: Components, name: string, schema: z.ZodType): JsonSchema {
  const { schema: json, named } = jsonSchemaOf(schema, SCHEMAS);
  Object.assign(schemas, named, { [name]: json });
  return json;
}

/** `order.awaiting-payment` as `Order awaiting payment`. */
const titleOf = (type: string): string => {
  const text = type.replaceAll(/[.-]/g, ' ');
  return `${text[0]?.toUpperCase()}${text.slice(1)}`;
};

/** Adds the messages of these types. `examples`: an event of each. */
export function addEvents(
  components: Components,
  types: readonly string[],
  catalogue: EventCatalogue,
  examples: Readonly<Record<string, unknown>>,
): void {
  for (const type of types) {
    const schema = catalogue[type];
    if (!schema) throw new RangeError(`the catalogue has no event ${type}`);
    const { description } = addSchema(components, type, schema);
    const payload = examples[type];
    components.messages[type] = {
      name: type,
      title: titleOf(type),
      ...(typeof description === 'string' ? { summary: description } : {}),
      contentType: EVENT_CONTENT_TYPE,
      payload: { ...ref('components', 'schemas', type) },
      ...(payload === undefined ? {} : { examples: [{ name: type, payload }] }),
    };
  }
}

/** Adds the message that holds several events of these types. */
export function addBatch({ messages }: Components, types: readonly string[]): void {
  messages[BATCH_MESSAGE] = {
    name: BATCH_MESSAGE,
    title: 'Several events',
    summary: 'Events with the same routing key, as one message in the JSON batch format of CloudEvents.',
    description:
      `A publisher sends at most ${MAX_EVENT_BYTES} bytes. A reader accepts up to ${MAX_BATCH_EVENTS} events and ` +
      `${MAX_BATCH_BYTES} bytes.`,
    contentType: BATCH_CONTENT_TYPE,
    payload: {
      type: 'array',
      maxItems: MAX_BATCH_EVENTS,
      items: { anyOf: types.map((type) => ref('components', 'schemas', type)) },
    },
  };
}
