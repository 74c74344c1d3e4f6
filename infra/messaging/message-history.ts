// The messages of a service about some subjects, as entries of a history: what waits in its outbox, what its inbox has
// received and handled, and the attempts that failed.
//
// The inbox has no index by subject, because each message would pay for it. So messages are found by their events' ids,
// which the services know; by their failed attempts; and, while they wait or are failed, by their subject: those rows
// are in small partial indexes. A done message whose id no service knows, because `sluice audit --repair` has resent a
// request under a new one, is not found.
import type { Queryable } from '../database/port.ts';
import { isoMicros } from '../database/sql.ts';
import { DISCARDED, FAILED } from './failed-selection.ts';
import { type EntryRow, entryOf, type HistoryEntry } from './history.ts';

/** Rows of each table that are read; the newest ones, if there are more. */
const MAX_ROWS = 1_000;

export interface MessagesOf {
  /** The ids of what the messages are about. */
  readonly subjects: readonly string[];
  /** The ids of events that this service may have received or written. */
  readonly eventIds: readonly string[];
  /** The type of the event that reports a dead message. */
  readonly reportType: string;
}

interface InboxRow {
  readonly eventId: string;
  readonly type: string | null;
  readonly status: 'pending' | 'retrying' | 'done' | 'dead';
  readonly attempts: number;
  readonly error: string | null;
  readonly reportId: string | null;
  readonly receivedAt: string;
  readonly handledAt: string | null;
  readonly discardedAt: string | null;
  readonly discardReason: string | null;
  /** From receiving to handling. */
  readonly durationMs: number | null;
}

interface AttemptRow {
  readonly eventId: string;
  readonly type: string | null;
  readonly attempt: number;
  readonly outcome: 'retrying' | 'dead' | 'reply-retrying' | 'reply-dead';
  readonly error: string;
  readonly durationMs: number | null;
  readonly reportId: string | null;
  readonly at: string;
}

/** `truncated`: a table has more rows than were read. `schema` is one of our own names, never input. */
export async function readMessageHistory(database: Queryable, schema: string, about: MessagesOf) {
  const [waiting, inbox, attempts] = await Promise.all([
    readOutbox(database, schema, about),
    readInbox(database, schema, about),
    readAttempts(database, schema, about),
  ]);
  const entries = [...waiting.map(entryOf), ...messageEntries(inbox, attempts, about.reportType)];
  return { entries, truncated: [waiting, inbox, attempts].some(({ length }) => length === MAX_ROWS) };
}

/** Published rows are deleted within a second, so almost all of these wait. */
const readOutbox = (database: Queryable, schema: string, { subjects, eventIds }: MessagesOf) =>
  database.query<EntryRow>(
    `SELECT 'waiting' AS kind, ${isoMicros('written_at')} AS at, event_id AS "eventId", type,
       NULLIF(failures, 0) AS attempt, error AS detail
     FROM ${schema}.outbox WHERE subject = ANY($1::text[]) OR event_id = ANY($2::uuid[])
     ORDER BY position DESC LIMIT ${MAX_ROWS}`,
    [subjects, eventIds],
  );

/** Each SELECT uses the primary key or a partial index. */
const readInbox = (database: Queryable, schema: string, { subjects, eventIds }: MessagesOf) =>
  database.query<InboxRow>(
    `SELECT message_id AS "eventId", type, status, attempts, error, failure_id AS "reportId",
       ${isoMicros('received_at')} AS "receivedAt", ${isoMicros('handled_at')} AS "handledAt",
       ${isoMicros('discarded_at')} AS "discardedAt", discard_reason AS "discardReason",
       round(extract(epoch FROM handled_at - received_at) * 1000)::bigint AS "durationMs"
     FROM ${schema}.inbox WHERE message_id IN (
       SELECT unnest($2::uuid[])
       UNION SELECT message_id FROM ${schema}.attempts WHERE subject = ANY($1::uuid[]) AND message_id IS NOT NULL
       UNION SELECT message_id FROM ${schema}.inbox WHERE status = 'pending' AND subject = ANY($1::uuid[])
       UNION SELECT message_id FROM ${schema}.inbox WHERE ${FAILED} AND subject = ANY($1::uuid[])
       UNION SELECT message_id FROM ${schema}.inbox WHERE ${DISCARDED} AND subject = ANY($1::uuid[])
     )
     ORDER BY received_at DESC LIMIT ${MAX_ROWS}`,
    [subjects, eventIds],
  );

const readAttempts = (database: Queryable, schema: string, { subjects }: MessagesOf) =>
  database.query<AttemptRow>(
    `SELECT message_id AS "eventId", type, attempt, outcome, error, duration_ms AS "durationMs",
       report_id AS "reportId", ${isoMicros('failed_at')} AS at
     FROM ${schema}.attempts WHERE subject = ANY($1::uuid[]) AND message_id IS NOT NULL
     ORDER BY failed_at DESC LIMIT ${MAX_ROWS}`,
    [subjects],
  );

function messageEntries(
  inbox: readonly InboxRow[],
  attempts: readonly AttemptRow[],
  reportType: string,
): HistoryEntry[] {
  const failed = new Set(attempts.map(({ eventId }) => eventId));
  const dead = new Set(attempts.filter(({ outcome }) => outcome === 'dead').map(({ eventId }) => eventId));
  return [
    ...inbox.flatMap((row) => {
      const outcome = outcomeOf(row, (row.status === 'dead' ? dead : failed).has(row.eventId));
      return [
        receivedEntry(row),
        ...(outcome ? [outcome] : []),
        ...reportEntries(outcome, row, reportType),
        ...discardedEntries(row),
      ];
    }),
    ...attempts.flatMap((row) => {
      const entry = attemptEntry(row);
      return [entry, ...reportEntries(entry, row, reportType)];
    }),
  ];
}

const receivedEntry = ({ eventId, type, status, receivedAt }: InboxRow): HistoryEntry =>
  entryOf({
    at: receivedAt,
    kind: 'received',
    eventId,
    type,
    detail: status === 'pending' ? 'not handled yet' : null,
  });

const discardedEntries = ({ eventId, type, discardedAt, discardReason }: InboxRow): HistoryEntry[] =>
  discardedAt === null ? [] : [entryOf({ at: discardedAt, kind: 'discarded', eventId, type, detail: discardReason })];

/**
 * The last outcome, unless the row of its attempt says it (`isRecorded`). A failed message has no such row if it is
 * unreadable, failed before there were rows, or failed so long ago that they are deleted.
 */
function outcomeOf(row: InboxRow, isRecorded: boolean): HistoryEntry | undefined {
  const { eventId, type, status, attempts, error, receivedAt, handledAt, durationMs } = row;
  const about = { at: handledAt ?? receivedAt, eventId, type };
  switch (status) {
    case 'pending':
      return undefined;
    case 'done':
      return entryOf({ ...about, kind: 'handled', attempt: attempts, durationMs });
    case 'retrying':
      if (attempts === 0) return entryOf({ ...about, kind: 'retried', detail: 'an operator gave it fresh attempts' });
      return isRecorded ? undefined : entryOf({ ...about, kind: 'retried', attempt: attempts, detail: error });
    case 'dead':
      return isRecorded ? undefined : entryOf({ ...about, kind: 'dead', attempt: attempts, detail: error });
  }
}

function attemptEntry({ eventId, type, attempt, outcome, error, durationMs, at }: AttemptRow): HistoryEntry {
  const about = { at, eventId, type, attempt, durationMs };
  switch (outcome) {
    case 'retrying':
      return entryOf({ ...about, kind: 'retried', detail: error });
    case 'dead':
      return entryOf({ ...about, kind: 'dead', detail: error });
    case 'reply-retrying':
      return entryOf({ ...about, kind: 'retried', detail: `resending the reply: ${error}` });
    case 'reply-dead':
      return entryOf({ ...about, kind: 'dead', detail: `the reply is not resent: ${error}` });
  }
}

/** The event that reports a dead message, if one does. */
const reportEntries = (
  dead: HistoryEntry | undefined,
  { reportId }: { readonly reportId: string | null },
  type: string,
): HistoryEntry[] =>
  dead?.kind === 'dead' && reportId !== null ? [{ at: dead.at, kind: 'written', eventId: reportId, type }] : [];
