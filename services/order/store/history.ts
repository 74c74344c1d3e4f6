// What the order service has stored about an order, for its history.
import { stepNames } from '../../../contracts/orders.ts';
import type { Database } from '../../../infra/database/port.ts';
import { backoff } from '../../../infra/database/sql.ts';
import { type EntrySql, historyFrom, type ReadHistory } from '../../../infra/messaging/history.ts';
import { SCHEMA } from './orders.ts';
import { longestDelay } from './payments.ts';

export interface HistoryDelays {
  /** Of the first resend. */
  readonly resendAfterMs: number;
  /** Of the first repetition of a charge without an outcome. */
  readonly retryAfterMs: number;
}

const ORDER = `${SCHEMA}.orders o JOIN ${SCHEMA}.progress p ON p.order_id = o.id WHERE o.id = ANY($1::uuid[])`;

const EVENTS: readonly EntrySql[] = [
  {
    kind: 'accepted',
    at: 'o.created_at',
    detail: `CASE WHEN o.ticket_id IS NOT NULL THEN 'for the ticket ' || o.ticket_id
      WHEN o.idempotency_key IS NOT NULL THEN 'over HTTP, with an Idempotency-Key' ELSE 'over HTTP' END`,
    from: ORDER,
  },
  {
    kind: 'written',
    at: 'o.created_at',
    eventId: 'p.awaiting_event_id',
    type: `'order.awaiting-payment'`,
    detail: `'to be paid by ' || ${SCHEMA}.iso(p.expires_at)`,
    from: `${ORDER} AND p.awaiting_event_id IS NOT NULL`,
  },
  {
    kind: 'written',
    at: 'COALESCE(p.paid_at, o.created_at)',
    eventId: 'o.placed_event_id',
    type: `'order.placed'`,
    from: `${ORDER} AND p.ever_confirmed`,
  },
  {
    kind: 'written',
    at: 'p.cancelled_at',
    eventId: 'p.cancelled_event_id',
    type: `'order.cancelled'`,
    detail: `NULLIF(p.cancel_reason, '')`,
    from: ORDER,
  },
];

/** A failed attempt to pay has a row (see endAttempt); the others are known from the order's state. */
const payments = ({ retryAfterMs }: HistoryDelays): readonly EntrySql[] => [
  { kind: 'payment', at: 'p.paid_at', attempt: 'p.attempt', detail: `'approved'`, from: ORDER },
  {
    kind: 'payment',
    at: 'a.failed_at',
    attempt: 'a.attempt',
    detail: `CASE a.outcome WHEN a.error THEN a.outcome ELSE a.outcome || ': ' || a.error END`,
    from: `(SELECT * FROM ${SCHEMA}.attempts WHERE subject = ANY($1::uuid[]) AND message_id IS NULL
      ORDER BY failed_at DESC LIMIT 1000) AS a`,
  },
  {
    kind: 'payment', // its last call to the provider
    at: `p.charge_again_at - ${backoff('p.charge_retries', longestDelay(String(retryAfterMs)), String(retryAfterMs))}`,
    attempt: 'p.attempt',
    detail: `'in progress: ' || p.charge_retries + 1 || ' calls without a response'`,
    from: `${ORDER} AND p.state = 'paying'`,
  },
  {
    kind: 'refund',
    at: 'p.cancelled_at',
    attempt: 'NULLIF(p.refund_attempts, 0)',
    detail: `CASE WHEN p.refund_at IS NULL THEN 'confirmed since' WHEN p.refund_rejected THEN 'due; the provider rejects it'
      ELSE 'due' END`,
    from: `${ORDER} AND p.attempt > 0`,
  },
];

const steps: readonly EntrySql[] = stepNames.flatMap((name) => [
  {
    kind: 'step',
    at: `(p.${name}->>'at')`,
    detail: `concat_ws(': ', '${name} ' || (p.${name}->>'status'),
      CASE p.${name}->>'status' WHEN 'failed' THEN NULL ELSE p.${name}->>'detail' END)`,
    from: `${ORDER} AND p.${name}->>'status' <> 'pending'`,
  },
  {
    kind: 'step',
    at: `(p.failed_reversals->>'${name}')`,
    detail: `'${name} failed: the reversal failed'`,
    from: ORDER,
  },
]);

/** The last resend: `resend_at` was set to its time plus the delay. */
const resends = ({ resendAfterMs }: HistoryDelays): EntrySql => ({
  kind: 'resent',
  at: `p.resend_at - ${backoff('p.resends', undefined, String(resendAfterMs))}`,
  eventId: `CASE p.state WHEN 'cancelled' THEN p.cancelled_event_id ELSE o.placed_event_id END`,
  type: `CASE p.state WHEN 'cancelled' THEN 'order.cancelled' ELSE 'order.placed' END`,
  attempt: 'p.resends',
  from: `${ORDER} AND p.resends > 0`,
});

export const orderHistory = (delays: HistoryDelays): ReadHistory =>
  historyFrom([...EVENTS, ...payments(delays), ...steps, resends(delays)]);

/** The order with this id, or the order of the ticket with this id. */
export async function findHistoryOrder(database: Pick<Database, 'query'>, id: string) {
  const [row] = await database.query<{ orderId: string; ticketId: string | null }>(
    `SELECT id AS "orderId", ticket_id AS "ticketId" FROM ${SCHEMA}.orders WHERE id = $1 OR ticket_id = $1`,
    [id],
  );
  return row;
}
