// Events on the wire: CloudEvents 1.0, structured JSON. Received bytes are trusted only once they match their schema.
import { createHash } from 'node:crypto';
import { MAX_EVENT_BYTES, type OutgoingEvent } from '../bus/port.ts';
import { type CloudEvent, type EventCatalogue, schemaFor } from './catalogue.ts';
import type { OutboxRow } from './outbox.ts';

/** The event of an outbox row. Throws if the row does not match the schema of its type. */
export function writeEvent(catalogue: EventCatalogue, row: OutboxRow, source: string): OutgoingEvent {
  const { event_id: id, type, subject } = row;
  const schema = schemaFor(catalogue, type);
  if (!schema) throw new TypeError(`unknown type ${type}`);
  const event = {
    specversion: '1.0',
    id,
    source,
    type,
    subject,
    time: row.time.toISOString(),
    datacontenttype: 'application/json',
    data: JSON.parse(row.data),
  };
  return { id, type, body: JSON.stringify(schema.parse(event)) };
}

/** The readable fields of a body that matches no schema. */
interface Unreadable {
  /** The event's id; without one, a UUID of the body's SHA-256, so that a redelivery is the same row. */
  readonly messageId: string;
  readonly type: string | undefined;
  readonly subject: string | undefined;
  readonly error: string;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const utf8 = new TextDecoder('utf-8', { fatal: true });

type ReadEvent = { readonly event: CloudEvent } | { readonly unreadable: Unreadable };

export function readEvent(catalogue: EventCatalogue, body: Uint8Array): ReadEvent {
  let json: unknown;
  let error: string;
  try {
    if (body.byteLength > MAX_EVENT_BYTES) throw new RangeError(`${body.byteLength} bytes, allowed ${MAX_EVENT_BYTES}`);
    json = JSON.parse(utf8.decode(body));
    const type = field(json, 'type');
    if (type === undefined) throw new TypeError('no type');
    const schema = schemaFor(catalogue, type);
    if (!schema) throw new TypeError(`unknown type ${type}`);
    const parsed = schema.safeParse(json);
    if (parsed.success) return { event: parsed.data };
    error = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
  } catch (cause) {
    error = cause instanceof Error ? cause.message : String(cause);
  }
  const id = field(json, 'id');
  const subject = field(json, 'subject');
  const unreadable = {
    messageId: id !== undefined && UUID.test(id) ? id : uuidOfBytes(body),
    type: storable(field(json, 'type')),
    subject: subject !== undefined && UUID.test(subject) ? subject : undefined,
    error: `unreadable: ${error}`,
  };
  return { unreadable };
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
