// Records what operators change, in the same statement as the change, so that none is made without a record. Lists the
// records, newest first.
import { createHash } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import type { Queryable } from '../database/port.ts';
import { newestFirst } from '../database/sql.ts';

/** The schema of the records, which all services share. */
export const ADMIN_SCHEMA = 'sluice_admin';
/** The folder and the name of its set of migrations. */
export const ADMIN_MIGRATIONS = { folder: new URL('./migrations/', import.meta.url), set: 'admin' } as const;

const TABLE = `${ADMIN_SCHEMA}.operator_actions`;

/** The operator behind a request. */
export interface Actor {
  /** `local` while there is no access control. */
  readonly who: string;
  /** The client's address. */
  readonly from: string;
}

export interface OperatorAction {
  readonly actor: Actor;
  /** Such as `failed-message.discard`. */
  readonly action: string;
  readonly service: string;
  /** The id of what is changed; undefined for many messages. */
  readonly target?: string | undefined;
  /** The operator's request, such as a reason or a filter. */
  readonly details: object;
  /** A UUID. Calls that differ only in what they change, and have the same run, are one action. */
  readonly run?: string | undefined;
}

/**
 * An INSERT that records an action, to be a CTE of the statement that makes the change. `param` is the number of the
 * parameter with actionParam(). `changed` is SQL in a FROM clause with one row of (before json, after json), and
 * without a row if nothing changed. In a run, both are objects of counts, which are added up.
 */
export const recordAction = (param: number, changed: string): string =>
  `INSERT INTO ${TABLE} AS a (id, actor, origin, action, service, target, details, run_key, before, after)
   SELECT r.id, r.who, r."from", r.action, r.service, r.target, r.details, r."runKey", c.before, c.after
   FROM json_to_record($${param}::json) AS r (id uuid, who text, "from" text, action text, service text, target text,
     details json, "runKey" uuid), ${changed} AS c
   ON CONFLICT (run_key) DO UPDATE SET updated_at = now(),
     before = ${ADMIN_SCHEMA}.add_counts(a.before, excluded.before),
     after = ${ADMIN_SCHEMA}.add_counts(a.after, excluded.after)`;

export function actionParam({ actor, action, service, target, details, run }: OperatorAction): string {
  const { who, from } = actor;
  const runKey = run && keyOf([run, who, from, action, service, details]);
  return JSON.stringify({ id: uuidv7(), who, from, action, service, target, details, runKey });
}

/** A hash in the form of a UUID: a run that is continued with other terms is another action. */
const keyOf = (parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);

export interface RecordedAction {
  readonly id: string;
  readonly at: Date;
  readonly updated_at: Date | null;
  readonly actor: string;
  readonly origin: string;
  readonly action: string;
  readonly service: string;
  readonly target: string | null;
  readonly details: object;
  readonly before: object | null;
  readonly after: object;
}

/** A page, newest first; `after` is the last id of the page before. `service`: only its actions. */
export const listActions = (
  database: Queryable,
  service: string | undefined,
  after: string | undefined,
  limit: number,
): Promise<RecordedAction[]> =>
  database.query(
    `SELECT id, at, updated_at, actor, origin, action, service, target, details, before, after FROM ${TABLE}
     WHERE ($1::text IS NULL OR service = $1) ${newestFirst()}`,
    [service, after, limit],
  );
