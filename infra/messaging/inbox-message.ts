// A message as the inbox sees it: the bytes that arrived, read as an event if they are one.
import { MAX_EVENT_BYTES } from '../bus/port.ts';
import type { CloudEvent, EventCatalogue } from './catalogue.ts';
import { readEvent } from './envelope.ts';

/** How much of a body is stored. A longer one exceeds every event, so it is unreadable. */
export const MAX_STORED_BYTES = MAX_EVENT_BYTES;

export interface NewMessage {
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

export interface UnreadableMessage extends NewMessage {
  readonly error: string;
}

export function readMessage(catalogue: EventCatalogue, body: Uint8Array): ReadableMessage | UnreadableMessage {
  const read = readEvent(catalogue, body);
  if ('event' in read) {
    const { id: messageId, type, subject } = read.event;
    return { messageId, type, subject, body, event: read.event };
  }
  if (body.byteLength <= MAX_STORED_BYTES) return { ...read.unreadable, body };
  return { ...read.unreadable, body: body.subarray(0, MAX_STORED_BYTES), originalBytes: body.byteLength };
}
