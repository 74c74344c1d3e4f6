// What a service has stored about some subjects, such as an order and its ticket: entries with the time at which each
// thing happened. A service describes its own entries with SQL (historyFrom); message-history.ts adds its messages.
import type { Queryable } from '../database/port.ts';
import { isoMicros } from '../database/sql.ts';

export interface HistoryEntry {
  /** ISO 8601 in UTC to the microsecond, by the clock of the service's database. */
  readonly at: string;
  readonly kind: string;
  readonly eventId?: string;
  /** Of the event. */
  readonly type?: string;
  /** The number of an attempt or of a repetition, from 1. */
  readonly attempt?: number;
  readonly durationMs?: number;
  readonly detail?: string;
}

/** Reads the entries about these subjects. Their number is bounded by the service's own keys: a few dozen. */
export type ReadHistory = (database: Queryable, subjects: readonly string[]) => Promise<HistoryEntry[]>;

/** An entry for each row of `from`, as SQL. A row whose `at` is null has none. */
export interface EntrySql {
  readonly kind: string;
  readonly at: string;
  readonly eventId?: string;
  readonly type?: string;
  readonly attempt?: string;
  readonly detail?: string;
  /** A table with a condition on $1, the subjects: uuid[]. */
  readonly from: string;
}

const select = ({ kind, at, eventId, type, attempt, detail, from }: EntrySql) =>
  `SELECT '${kind}' AS kind, (${at})::timestamptz AS at, ${eventId ?? 'NULL::uuid'} AS "eventId",
    ${type ?? 'NULL::text'} AS type, ${attempt ?? 'NULL::integer'} AS attempt, ${detail ?? 'NULL::text'} AS detail
  FROM ${from}`;

export function historyFrom(entries: readonly EntrySql[]): ReadHistory {
  const text = `SELECT kind, ${isoMicros('at')} AS at, "eventId", type, attempt, detail
    FROM (${entries.map(select).join('\nUNION ALL\n')}) AS entries WHERE at IS NOT NULL`;
  return async (database, subjects) => (await database.query<EntryRow>(text, [subjects])).map(entryOf);
}

/** An entry as a row: what is unknown is null. */
export type EntryRow = { readonly [Field in keyof HistoryEntry]: HistoryEntry[Field] | null };

/** Leaves out what is null. */
export const entryOf = (row: EntryRow): HistoryEntry =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as unknown as HistoryEntry;
