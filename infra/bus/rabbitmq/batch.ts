// Events in messages: one event, or several as a batch in the JSON format of CloudEvents.
import type { Message } from 'amqplib';
import { groupBy } from '../../runtime/collections.ts';
import {
  EVENT_CONTENT_TYPE,
  type IncomingMessage,
  MAX_BATCH_EVENTS,
  MAX_EVENT_BYTES,
  type OutgoingEvent,
} from '../port.ts';

export const BATCH_CONTENT_TYPE = 'application/cloudevents-batch+json';
/** A larger batch is unreadable. Publishers stay far below. */
export const MAX_BATCH_BYTES = 1024 * 1024;

/** At least one event. */
export interface OutgoingMessage {
  /** The id of the first event. */
  readonly id: string;
  readonly routingKey: string;
  readonly events: OutgoingEvent[];
}

/**
 * Puts events into messages of up to `eventsPerMessage`. Only events with the same routing key share a message: they go
 * to the same queues, so a returned or rejected message concerns all of its events alike. A message is at most
 * MAX_EVENT_BYTES long, like a single event. So a bound on messages also bounds memory, and a service of 0.2.0, which
 * takes a batch for an unreadable event, stores all of it.
 */
export function packEvents(events: readonly OutgoingEvent[], eventsPerMessage: number): OutgoingMessage[] {
  const messages: OutgoingMessage[] = [];
  for (const [routingKey, its] of groupBy(events, ({ routingKey, type }) => routingKey ?? type)) {
    let packed: OutgoingEvent[] = [];
    let bytes = 0;
    for (const event of its) {
      const length = Buffer.byteLength(event.body) + 1; // with a comma or bracket; the array has one more of these
      if (packed.length === 0 || packed.length === eventsPerMessage || bytes + length > MAX_EVENT_BYTES - 1) {
        packed = [];
        bytes = 0;
        messages.push({ id: event.id, routingKey, events: packed });
      }
      packed.push(event);
      bytes += length;
    }
  }
  return messages;
}

/** The content of a message, and its type. */
export function contentOf({ events }: OutgoingMessage): { content: Buffer; contentType: string } {
  const bodies = events.map(({ body }) => body);
  const [first = ''] = bodies;
  if (bodies.length === 1) return { content: Buffer.from(first), contentType: EVENT_CONTENT_TYPE };
  return { content: Buffer.from(`[${bodies.join(',')}]`), contentType: BATCH_CONTENT_TYPE };
}

/**
 * The events in a message, byte for byte. A batch that is no array, or exceeds a limit, is returned as one event, which
 * is then unreadable.
 */
export function eventsIn({ content, properties }: Message): readonly IncomingMessage[] {
  const whole = [{ body: content }];
  if (!isBatch(properties.contentType) || content.length > MAX_BATCH_BYTES) return whole;
  const bodies = elementsOf(content);
  return bodies && bodies.length <= MAX_BATCH_EVENTS ? bodies.map((body) => ({ body })) : whole;
}

/** Parameters such as `charset` may follow. */
const isBatch = (contentType: unknown) =>
  typeof contentType === 'string' && contentType.split(';', 1)[0]?.trim().toLowerCase() === BATCH_CONTENT_TYPE;

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const isOpening = (byte: number) => byte === 0x5b || byte === 0x7b; // [ {
const isClosing = (byte: number) => byte === 0x5d || byte === 0x7d; // ] }
const isBlank = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

/**
 * The bytes of each element of a JSON array, or undefined if its end is not where the text ends. The elements are not
 * parsed: the body of an event is kept as it was sent, and one invalid element leaves the others readable. Takes 1 µs
 * per event, while parsing the array and writing each event again takes 3 to 4.
 */
export function elementsOf(json: Buffer): Buffer[] | undefined {
  const begin = json.findIndex((byte) => !isBlank(byte));
  if (json[begin] !== 0x5b) return undefined;
  const elements: Buffer[] = [];
  let start = begin + 1;
  let depth = 0;
  let inString = false;
  for (let index = begin; index < json.length; index++) {
    const byte = json[index] as number;
    if (inString) {
      if (byte === BACKSLASH) index++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (isOpening(byte)) depth++;
    else if (isClosing(byte)) {
      if (--depth > 0) continue;
      const last = json.subarray(start, index);
      if (elements.length > 0 || !last.every(isBlank)) elements.push(last);
      return json.subarray(index + 1).every(isBlank) ? elements : undefined;
    } else if (byte === COMMA && depth === 1) {
      elements.push(json.subarray(start, index));
      start = index + 1;
    }
  }
  return undefined;
}
