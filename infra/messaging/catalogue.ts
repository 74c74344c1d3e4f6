// The events of a system, as its messaging needs them: a schema of the whole envelope for each type. Messaging works on
// any catalogue; this project's is contracts/events.ts.
import type { z } from 'zod';

/** CloudEvents 1.0 as structured JSON. `subject` is the id of what the event is about, a UUID. */
export interface CloudEvent<Type extends string = string, Data = unknown> {
  readonly specversion: '1.0';
  /** A UUID. */
  readonly id: string;
  readonly source: string;
  readonly type: Type;
  readonly subject: string;
  /** ISO 8601, in UTC. */
  readonly time: string;
  readonly datacontenttype: 'application/json';
  readonly data: Data;
}

/** Reading and writing an event both parse with the schema of its type. */
export type EventCatalogue = Readonly<Record<string, z.ZodType<CloudEvent>>>;

/** The schema of a type; undefined if the catalogue does not know it. */
export const schemaFor = (catalogue: EventCatalogue, type: string): z.ZodType<CloudEvent> | undefined =>
  Object.hasOwn(catalogue, type) ? catalogue[type] : undefined;
