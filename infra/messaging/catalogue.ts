// A catalogue of events: a schema of the whole envelope for each type. Messaging works with any catalogue; this project's
// is contracts/events.ts.
import type { z } from 'zod';

/** CloudEvents 1.0 as structured JSON. `subject` is the UUID of the order, ticket or other thing that the event is about. */
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

/** An event is parsed with the schema of its type both when it is written and when it is read. */
export type EventCatalogue = Readonly<Record<string, z.ZodType<CloudEvent>>>;

/** The schema of a type; undefined if the catalogue does not contain it. */
export const schemaFor = (catalogue: EventCatalogue, type: string): z.ZodType<CloudEvent> | undefined =>
  Object.hasOwn(catalogue, type) ? catalogue[type] : undefined;
