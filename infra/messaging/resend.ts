// Requests are resent until a reply arrives. A service replies to a repeated request with the event that it published
// the first time, so even a broker that loses messages costs time and never an effect.
import { GRID_MS, pollingLoop } from '../database/poll.ts';
import { backoff } from '../database/sql.ts';
import type { Loop } from '../runtime/loop.ts';
import type { ResendRequest, ServiceContext } from '../runtime/service.ts';
import { integer, type SettingsOf, variable } from '../runtime/settings.ts';
import { defineStatement } from './outbox.ts';

export const resendSettings = {
  RESEND_AFTER_MS: variable(
    integer(100, 3_600_000),
    '30000',
    'Delay before an event that expects replies, such as order.placed, is published again because a reply is missing; doubles each time, up to an hour.',
  ),
};

/** A sweep each twentieth of RESEND_AFTER_MS is often enough, within these bounds: an idle process stays idle. */
const SWEEP_MIN_MS = 500;
const SWEEP_MAX_MS = 2_000;
/** Most requests of a process: resending is never the load. */
const MAX_PER_SECOND = 200;

/**
 * The statement that resends the overdue requests of `table`, whose columns `resends` and `resend_at` it updates: at
 * most `limit`, each again after `resendAfterMs`, doubled with each resend up to an hour. `waiting`: the condition of
 * rows that wait for a reply; `events`: the requests of the rows that a CTE `resent` returns.
 */
export const defineOverdue = (
  { table, id, waiting }: { readonly table: string; readonly id: string; readonly waiting: string },
  events: string,
) => ({
  ...defineStatement({
    effects: `WITH overdue AS (
      SELECT ${id} FROM ${table} WHERE ${waiting} AND resend_at <= now()
      ORDER BY resend_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), resent AS (
      UPDATE ${table} AS t SET resends = resends + 1, resend_at = now() + ${backoff('resends + 1')}
      FROM overdue WHERE t.${id} = overdue.${id}
      RETURNING t.*
    )`,
    events,
    params: (resendAfterMs: number, limit: number) => [resendAfterMs, limit],
  }),
  /** The query for the time of the next request that is overdue. */
  nextDue: `SELECT min(resend_at) AS due FROM ${table} WHERE ${waiting}`,
});

/** Resends the requests of type `request` whose replies are overdue. */
export function resendLoop(
  { settings, database, outbox, metrics, log }: ServiceContext<SettingsOf<typeof resendSettings>>,
  request: string,
  overdue: ReturnType<typeof defineOverdue>,
): Loop {
  const resendAfterMs = settings.RESEND_AFTER_MS;
  const aboutMs = Math.min(Math.max(SWEEP_MIN_MS, resendAfterMs / 20), SWEEP_MAX_MS, resendAfterMs);
  // A multiple of GRID_MS: any other interval would be shortened to one, and so exceed MAX_PER_SECOND.
  const everyMs = aboutMs < GRID_MS ? aboutMs : aboutMs - (aboutMs % GRID_MS);
  const limit = Math.ceil((MAX_PER_SECOND * everyMs) / 1_000);
  return pollingLoop({
    name: `resend ${request}`,
    everyMs,
    database: database.background,
    nextDue: overdue.nextDue,
    log,
    turn: async () => {
      const resent = await outbox.write(database.background, overdue, resendAfterMs, limit);
      if (resent.length === 0) return;
      metrics.resent.inc({ type: request }, resent.length);
      log.info({ count: resent.length, request }, 'resent: the replies are overdue');
    },
  });
}

/**
 * The statement of POST /audit/:service/resend, from the CTEs and events of a service; $1 in them: the requests.
 * The events get new ids: a service that knows the old id would only resend its reply, and for a new one it also writes
 * what is missing.
 */
export const defineResend = ({ effects, events }: { readonly effects: string; readonly events: string }) =>
  defineStatement({
    effects,
    events: `SELECT r."eventId" AS event_id, e.type, e.subject, e.time, e.data FROM (${events}) AS e
      JOIN json_to_recordset($1::json) AS r (id text, "eventId" uuid) ON r.id = e.subject`,
    params: (requests: readonly ResendRequest[]) => [JSON.stringify(requests)],
  });
