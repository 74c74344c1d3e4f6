// Builds the AsyncAPI 3.0 document of a system's services from its topology and its catalogue of events. Every name in
// it comes from the functions with which the services build the same name.
import { z } from 'zod';
import type { Bus } from '../../bus/port.ts';
import type { EventCatalogue } from '../../messaging/handler.ts';
import { presenceMessages } from '../../mqtt/topics.ts';
import { localBus } from './local.ts';
import { addBatch, addEvents, addSchema, type Components } from './messages.ts';
import { mqttBus, PROBE_MESSAGE } from './mqtt-bus.ts';
import { joined, ref, typesIn } from './parts.ts';
import { rabbitmqBus } from './rabbitmq.ts';
import { LOG_MESSAGE, mqttTopics, NOTIFICATION_MESSAGE, PRESENCE_MESSAGE } from './topics.ts';
import type { AsyncApiDocument, DocumentInfo, Part, Scope } from './types.ts';

export interface AsyncApiOptions extends Scope {
  readonly info: DocumentInfo;
  /** The event buses that the document describes. */
  readonly buses: readonly Bus['kind'][];
  readonly catalogue: EventCatalogue;
  /** An event of each type. */
  readonly examples: Readonly<Record<string, unknown>>;
  /** The service that notifies users, and what it sends them. */
  readonly notifications?: { readonly service: string; readonly schema: z.ZodType; readonly example: unknown };
  /** The field of a log line with a message's subject, such as `orderId`. */
  readonly subjectName: string;
}

const parts: Readonly<Record<Bus['kind'], (scope: Scope) => Part>> = {
  local: localBus,
  rabbitmq: rabbitmqBus,
  mqtt: mqttBus,
};

export function asyncApiDocument(options: AsyncApiOptions): AsyncApiDocument {
  const { info, buses, catalogue, examples, notifications } = options;
  const types = typesIn(options);
  const components: Components = { schemas: {}, messages: {} };
  addEvents(components, types, catalogue, examples);
  if (buses.includes('rabbitmq')) addBatch(components, types);
  if (buses.includes('mqtt')) addProbe(components);
  if (notifications && options.services.includes(notifications.service)) addNotification(components, notifications);
  addLog(components, options.subjectName);
  addPresence(components);
  return {
    asyncapi: '3.0.0',
    info,
    defaultContentType: 'application/json',
    ...joined([...buses.map((bus) => parts[bus](options)), mqttTopics(options, notifications?.service)]),
    components,
  };
}

function addNotification(
  components: Components,
  { schema, example }: NonNullable<AsyncApiOptions['notifications']>,
): void {
  addSchema(components, NOTIFICATION_MESSAGE, schema);
  components.messages[NOTIFICATION_MESSAGE] = {
    name: NOTIFICATION_MESSAGE,
    title: 'Notification',
    summary: 'A text for a user. `id` identifies a message that arrives twice.',
    contentType: 'application/json',
    payload: { ...ref('components', 'schemas', NOTIFICATION_MESSAGE) },
    examples: [{ name: NOTIFICATION_MESSAGE, payload: example }],
  };
}

/** A line of the log. Lines have further fields. */
export const logLine = (subjectName: string) =>
  z.looseObject({
    level: z.int().meta({ description: '10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal.' }),
    time: z.int().meta({ description: 'Milliseconds since 1970, by the clock of the process.' }),
    service: z.string().optional().meta({ description: 'Absent in lines of the process itself.' }),
    msg: z.string().optional(),
    event: z.string().optional().meta({ description: 'The type of the message that a consumer handled.' }),
    [subjectName]: z
      .string()
      .optional()
      .meta({ description: 'The id of the order or ticket that the message is about.' }),
    ms: z.number().optional().meta({ description: 'From the arrival of the message to its recorded outcome.' }),
    outcome: z.string().optional().meta({ description: 'How handling it ended, such as `done` or `retrying`.' }),
  });

function addLog(components: Components, subjectName: string): void {
  addSchema(components, 'log-line', logLine(subjectName));
  const line = { level: 30, time: 1_795_809_603_140, service: 'points', event: 'order.placed', ms: 3, outcome: 'done' };
  components.messages[LOG_MESSAGE] = {
    name: LOG_MESSAGE,
    title: 'Log lines',
    summary: 'Lines of the log as NDJSON: each line is a JSON object that matches the schema `log-line`.',
    contentType: 'application/x-ndjson',
    payload: { type: 'string', description: 'JSON objects, each followed by a line feed.' },
    examples: [{ name: LOG_MESSAGE, payload: `${JSON.stringify(line)}\n` }],
  };
}

function addPresence({ messages }: Components): void {
  messages[PRESENCE_MESSAGE] = {
    name: PRESENCE_MESSAGE,
    title: 'Presence',
    summary: 'Whether a process runs the service: `online`, `offline`, or empty after a clean stop.',
    contentType: 'text/plain',
    payload: { type: 'string', enum: Object.values(presenceMessages) },
    examples: [{ name: PRESENCE_MESSAGE, payload: presenceMessages.running }],
  };
}

function addProbe({ messages }: Components): void {
  messages[PROBE_MESSAGE] = {
    name: PROBE_MESSAGE,
    title: 'Probe',
    summary: 'An empty message.',
    contentType: 'text/plain',
    payload: { type: 'string', maxLength: 0 },
  };
}
