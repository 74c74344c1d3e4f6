// The rules of the gate. A finding is a difference from the baseline that a rule forbids.
import type { JsonSchema } from './json-schema.ts';

/**
 * `produced`: events and responses. Programs of the baseline must read what the current ones write, and the reverse: a
 * stored event, or a process of the other version beside this one. So they may gain optional fields, and nothing else.
 * `accepted`: requests. What was valid stays valid and means the same; more may become valid.
 */
export type Direction = 'produced' | 'accepted';

/** What each rule demands. */
export const rules = {
  'event-removed': 'an event type stays',
  'route-removed': 'a route stays',
  'status-removed': 'a status of a route stays',
  'status-added': 'a route gains no further status below 400, which its clients would not understand',
  'field-removed': 'a field stays, under its name',
  'field-required': 'a new field is optional, and an optional field stays optional',
  'field-optional': 'a field that is always there stays so',
  'unknown-fields': 'unknown fields stay allowed, and readers that reject them get none',
  type: 'a type stays; a request may accept more types',
  enum: 'the values stay; a request may accept more of them',
  limit: 'a limit stays; a request may accept more',
  pattern: 'a pattern or format stays; a request may lose it',
  default: 'the value of an omitted field stays',
  variant: 'the alternatives stay; a request may accept more of them',
  refinement: 'a refinement stays; a request may lose it',
  unjudged: 'a difference that cannot be judged counts as breaking',
  unreadable: 'what was recorded can still be read',
  meaning: 'what was recorded still means the same',
} as const;
export type Rule = keyof typeof rules;

export interface Finding {
  /** The field, such as `data.items[].sku`; empty for the whole. `[]` is each item, `{}` each value of a record. */
  readonly path: string;
  readonly rule: Rule;
  readonly detail: string;
}

/** Compares two schemas that stand at the same place. */
export type Compare = (baseline: JsonSchema, current: JsonSchema, path: string) => Finding[];

export const fieldIn = (path: string, field: string): string => (path === '' ? field : `${path}.${field}`);

/** A value in a message. */
export const shown = (value: unknown): string => (value === undefined ? 'none' : JSON.stringify(value));
