// The order service's SQL of payments: an order is paid at most once, and the charge of a cancelled one is refunded.
import type { Database } from '../../../infra/database/port.ts';
import { backoff } from '../../../infra/database/sql.ts';
import { insertAttempts } from '../../../infra/messaging/attempts.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';
import { CHANGED_STATE_EVENTS, SCHEMA } from './orders.ts';

/** An attempt to pay. */
export interface Attempt {
  readonly orderId: string;
  readonly amount: number;
  readonly currency: string;
  /** Its number: the outcome of an attempt must not end a later one. */
  readonly attempt: number;
  /** Repeated calls to the provider. */
  readonly retries: number;
}

const ATTEMPT = `o.id AS "orderId", o.total AS amount, o.currency, p.attempt, p.charge_retries AS retries`;

/**
 * SQL of the longest delay between calls without a response. It is short, because a buyer may be waiting and an outage
 * ends without notice, but never below `retryAfterMs`, which exceeds the provider's timeout.
 */
export const longestDelay = (retryAfterMs = '$1::integer') =>
  `GREATEST(${retryAfterMs} * interval '1 ms', interval '15 s')`;

/**
 * Begins a payment, or joins the one in progress: the order id is the provider's key, so both get one outcome.
 * Undefined if the order does not await payment. `claimOverdueAttempts` takes over after `retryAfterMs` without an
 * outcome.
 */
export async function beginPayment(database: Database, orderId: string, retryAfterMs: number) {
  const [attempt] = await database.query<Attempt>(
    `UPDATE ${SCHEMA}.progress AS p
     SET state = 'paying', attempt = p.attempt + CASE p.state WHEN 'paying' THEN 0 ELSE 1 END,
         charge_retries = CASE p.state WHEN 'paying' THEN p.charge_retries ELSE 0 END,
         paying_since = CASE p.state WHEN 'paying' THEN p.paying_since ELSE now() END,
         charge_again_at = now() + $2::integer * interval '1 ms'
     FROM ${SCHEMA}.orders o
     WHERE o.id = p.order_id AND p.order_id = $1
       AND (p.state = 'paying' OR p.state = 'awaiting-payment' AND p.expires_at > now())
     RETURNING ${ATTEMPT}`,
    [orderId, retryAfterMs],
  );
  return attempt;
}

/** Claims up to `limit` attempts without a known outcome, each for `retryAfterMs`, doubled with each retry. */
export function claimOverdueAttempts(database: Database, retryAfterMs: number, limit: number): Promise<Attempt[]> {
  return database.query<Attempt>(
    `WITH due AS (
       SELECT order_id FROM ${SCHEMA}.progress WHERE state = 'paying' AND charge_again_at <= now()
       ORDER BY charge_again_at LIMIT $2 FOR UPDATE SKIP LOCKED
     )
     UPDATE ${SCHEMA}.progress AS p
     SET charge_retries = charge_retries + 1, charge_again_at = now() + ${backoff('charge_retries + 1', longestDelay())}
     FROM due JOIN ${SCHEMA}.orders o ON o.id = due.order_id WHERE p.order_id = due.order_id
     RETURNING ${ATTEMPT}`,
    [retryAfterMs, limit],
  );
}

/**
 * Confirms an order whose charge is approved, even if the response to another call has set it back to
 * `awaiting-payment` meanwhile.
 */
export const CONFIRM_PAYMENT = defineStatement({
  effects: `WITH changed AS (
    UPDATE ${SCHEMA}.progress AS p
    SET state = 'confirmed', paid_at = now(), charge_again_at = NULL,
        resends = 0, resend_at = now() + $2::integer * interval '1 ms'
    WHERE p.order_id = $1::uuid AND p.state IN ('paying', 'awaiting-payment')
    RETURNING p.*
  )`,
  events: CHANGED_STATE_EVENTS,
  params: (orderId: string, resendAfterMs: number) => [orderId, resendAfterMs],
});

const FAILED_PAYMENT = insertAttempts(
  SCHEMA,
  { subject: 'order_id', attempt: 'attempt', outcome: '$3::text', error: '$4::text', durationMs: '$5::integer' },
  'ended',
);

/** An attempt that failed. `error`: what the provider said, or the outcome again. */
interface FailedPayment {
  readonly outcome: 'declined' | 'rejected';
  readonly error: string;
  /** How long the provider took. */
  readonly durationMs: number;
}

/** Ends an attempt that was declined or rejected: the order awaits payment again, and may expire. */
export async function endAttempt(database: Database, attempt: Attempt, failed: FailedPayment): Promise<void> {
  await database.execute(
    `WITH ended AS (
       UPDATE ${SCHEMA}.progress SET state = 'awaiting-payment', charge_again_at = NULL
       WHERE order_id = $1 AND state = 'paying' AND attempt = $2
       RETURNING *
     ) ${FAILED_PAYMENT}`,
    [attempt.orderId, attempt.attempt, failed.outcome, failed.error, failed.durationMs],
  );
}

/**
 * Claims up to `limit` due refunds of cancelled orders, each for `retryAfterMs`, doubled with each attempt: up to an
 * hour once the provider has rejected it, because that needs an operator. `attempts` includes the current one;
 * `rejected`: the provider has rejected it before.
 */
export function claimRefunds(database: Database, retryAfterMs: number, limit: number) {
  return database.query<{ orderId: string; attempts: number; rejected: boolean }>(
    `WITH due AS (
       SELECT order_id FROM ${SCHEMA}.progress WHERE refund_at <= now()
       ORDER BY refund_at LIMIT $2 FOR UPDATE SKIP LOCKED
     )
     UPDATE ${SCHEMA}.progress AS p
     SET refund_attempts = refund_attempts + 1,
         refund_at = now() + CASE WHEN refund_rejected THEN ${backoff('refund_attempts')}
           ELSE ${backoff('refund_attempts', longestDelay())} END
     FROM due WHERE p.order_id = due.order_id
     RETURNING p.order_id AS "orderId", p.refund_attempts AS attempts, p.refund_rejected AS rejected`,
    [retryAfterMs, limit],
  );
}

/** The query for the time of the next charge or refund to be claimed. */
export const NEXT_PAYMENT = `SELECT LEAST(
    (SELECT min(charge_again_at) FROM ${SCHEMA}.progress WHERE state = 'paying'),
    (SELECT min(refund_at) FROM ${SCHEMA}.progress)) AS due`;

export const markRefunded = (database: Database, orderIds: readonly string[]) =>
  database.execute(
    `UPDATE ${SCHEMA}.progress SET refund_at = NULL, refund_rejected = false WHERE order_id = ANY($1::uuid[])`,
    [orderIds],
  );

/** Records that the provider rejects these refunds. They stay due. */
export const markRefundRejected = (database: Database, orderIds: readonly string[]) =>
  database.execute(
    `UPDATE ${SCHEMA}.progress SET refund_rejected = true
     WHERE order_id = ANY($1::uuid[]) AND refund_at IS NOT NULL`,
    [orderIds],
  );
