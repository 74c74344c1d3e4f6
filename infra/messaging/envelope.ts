// Events on the wire: CloudEvents 1.0, structured JSON. Received bytes are trusted only once they match the schema of
// their type. Messaging works with any catalogue of schemas; this project's is contracts/events.ts.
import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { MAX_EVENT_BYTES, type OutgoingEvent } from '../bus/port.ts';
import { reasonOf } from '../runtime/reason.ts';
import type { CloudEvent, EventCatalogue } from './handler.ts';
import type { OutboxRow } from './outbox.ts';

function schemaFor(catalogue: EventCatalogue, type: string): z.ZodType<CloudEvent> {
  const schema = Object.hasOwn(catalogue, type) ? catalogue[type] : undefined;
  if (!schema) throw new TypeError(`unknown type ${type}`);
  return schema;
}

/** The event of an outbox row. Throws if the row does not match the schema of its type. */
export function writeEvent(
  catalogue: EventCatalogue,
  row: OutboxRow,
  source: string,
  routingKeyOf?: (event: CloudEvent) => string,
): OutgoingEvent {
  const { event_id: id, type, subject } = row;
  const event = schemaFor(catalogue, type).parse({
    specversion: '1.0',
    id,
    source,
    type,
    subject,
    time: row.time.toISOString(),
    datacontenttype: 'application/json',
    data: JSON.parse(row.data),
  });
  return { id, type, routingKey: routingKeyOf?.(event), body: JSON.stringify(event) };
}

/** How much of a body is stored. A longer body exceeds the maximum size of an event, so it is unreadable. */
export const MAX_STORED_BYTES = MAX_EVENT_BYTES;

export interface NewMessage {
  /** The event's id; without one, a UUID of the body's SHA-256, so that a redelivery is the same row. */
  readonly messageId: string;
  readonly type: string | undefined;
  readonly subject: string | undefined;
  /** At most MAX_STORED_BYTES. */
  readonly body: Uint8Array;
  /** The message's size, if `body` is only its beginning. */
  readonly originalBytes?: number | undefined;
}

export interface ReadableMessage extends NewMessage {
  readonly event: CloudEvent;
}

/** The body matches no schema; type and subject are set if they can be read. */
export interface UnreadableMessage extends NewMessage {
  readonly error: string;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const utf8 = new TextDecoder('utf-8', { fatal: true });

export function readMessage(catalogue: EventCatalogue, body: Uint8Array): ReadableMessage | UnreadableMessage {
  let json: unknown;
  let error: string;
  try {
    if (body.byteLength > MAX_EVENT_BYTES) throw new RangeError(`${body.byteLength} bytes, allowed ${MAX_EVENT_BYTES}`);
    json = JSON.parse(utf8.decode(body));
    const type = field(json, 'type');
    if (type === undefined) throw new TypeError('no type');
    const { data: event, error: mismatch } = schemaFor(catalogue, type).safeParse(json);
    if (event) return { messageId: event.id, type: event.type, subject: event.subject, body, event };
    error = mismatch.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
  } catch (cause) {
    error = reasonOf(cause);
  }
  const id = field(json, 'id');
  const subject = field(json, 'subject');
  return {
    messageId: id !== undefined && UUID.test(id) ? id : uuidOfBytes(body),
    type: storable(field(json, 'type')),
    subject: subject !== undefined && UUID.test(subject) ? subject : undefined,
    body: body.subarray(0, MAX_STORED_BYTES),
    originalBytes: body.byteLength > MAX_STORED_BYTES ? body.byteLength : undefined,
    error: `unreadable: ${error}`,
  };
}

function field(json: unknown, name: 'id' | 'type' | 'subject'): string | undefined {
  const value: unknown = typeof json === 'object' && json !== null ? Reflect.get(json, name) : undefined;
  return typeof value === 'string' ? value : undefined;
}

/** Untrusted text as PostgreSQL can store it, cut to 1,000 characters. */
export const storable = <T extends string | undefined>(value: T): T =>
  value?.slice(0, 1000).replaceAll('\u0000', '\uFFFD').toWellFormed() as T;

/** A UUIDv8 (RFC 9562, 5.8) of the bytes' SHA-256. */
function uuidOfBytes(bytes: Uint8Array): string {
  const hash = createHash('sha256').update(bytes).digest().subarray(0, 16);
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x80;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
