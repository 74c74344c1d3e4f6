// Requests are resent until every reply has arrived. A service replies to a repeated request with the event that it
// published first or, after a cancellation, with the reversal. So a broker that loses messages costs time, never an
// effect.
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

/**
 * The interval of the sweeps is a twentieth of RESEND_AFTER_MS, within these bounds, so that an idle process stays
 * idle.
 */
const SWEEP_MIN_MS = 500;
const SWEEP_MAX_MS = 2_000;
/** Maximum rate at which a process resends the requests of one type, so that resends never overload the system. */
const MAX_PER_SECOND = 200;

/**
 * The statement that resends at most `limit` overdue requests of `table`, and updates its columns `resends` and
 * `resend_at`. The next resend of each is due after `resendAfterMs`, doubled with each resend, up to an hour.
 * `waiting`: the condition of rows that wait for a reply. `events`: selects the events to publish from the CTE
 * `resent`.
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
  /** The query for the time of the next request that becomes overdue. */
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
  // Rounded down to a multiple of GRID_MS. On PGlite, a loop would otherwise run more often than everyMs, and exceed
  // MAX_PER_SECOND.
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
 * The statement of POST /audit/:service/resend, from the CTEs and events of a service. Both get $1: the ids of the
 * orders or tickets, each with the new event id of its request. The id is new because a service that knows the old one
 * would only resend its reply; for a new one it also writes what is missing.
 */
export const defineResend = ({ effects, events }: { readonly effects: string; readonly events: string }) =>
  defineStatement({
    effects,
    events: `SELECT r."eventId" AS event_id, e.type, e.subject, e.time, e.data FROM (${events}) AS e
      JOIN json_to_recordset($1::json) AS r (id text, "eventId" uuid) ON r.id = e.subject`,
    params: (requests: readonly ResendRequest[]) => [JSON.stringify(requests)],
  });
