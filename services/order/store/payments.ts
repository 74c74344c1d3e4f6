// The order service's SQL of payments: one order is paid, at most once, and one that is cancelled is given back.
import type { Database } from '../../../infra/database/port.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';
import { backoff, CHANGED, MS, SCHEMA } from './orders.ts';

/** An attempt to pay, as the provider is asked for it. */
export interface Attempt {
  readonly orderId: string;
  readonly amount: number;
  readonly currency: string;
  /** Which one: what came of an attempt must not end a later one. */
  readonly attempt: number;
  /** How often the provider was asked again about it. */
  readonly retries: number;
}

const ATTEMPT = `o.id AS "orderId", o.total AS amount, o.currency, p.attempt, p.charge_retries AS retries`;

/**
 * SQL of the longest delay while the provider gives no answer: a buyer may wait for it, and an outage ends without notice.
 * Never below $1, which exceeds the provider's timeout.
 */
const MAX_SILENCE = `GREATEST($1::integer * ${MS}, interval '15 s')`;

/**
 * Begins a payment, or joins the one that is under way: the order id is the provider's key, so both get one outcome.
 * Undefined where the order does not wait for payment, or not any more. Unless it is ended before, it is taken up by
 * `overdueAttempts` after `againMs`.
 */
export async function beginPayment(database: Database, orderId: string, againMs: number): Promise<Attempt | undefined> {
  const [attempt] = await database.query<Attempt>(
    `UPDATE ${SCHEMA}.progress AS p
     SET state = 'paying', attempt = p.attempt + CASE p.state WHEN 'paying' THEN 0 ELSE 1 END,
         charge_retries = CASE p.state WHEN 'paying' THEN p.charge_retries ELSE 0 END,
         charge_again_at = now() + $2::integer * ${MS}
     FROM ${SCHEMA}.orders o
     WHERE o.id = p.order_id AND p.order_id = $1
       AND (p.state = 'paying' OR p.state = 'awaiting-payment' AND p.expires_at > now())
     RETURNING ${ATTEMPT}`,
    [orderId, againMs],
  );
  return attempt;
}

/** Takes up attempts whose outcome nobody learned, at most `limit`, each for `againMs` or, with each retry, twice as long. */
export function overdueAttempts(database: Database, againMs: number, limit: number): Promise<Attempt[]> {
  return database.query<Attempt>(
    `WITH due AS (
       SELECT order_id FROM ${SCHEMA}.progress WHERE state = 'paying' AND charge_again_at <= now()
       ORDER BY charge_again_at LIMIT $2 FOR UPDATE SKIP LOCKED
     )
     UPDATE ${SCHEMA}.progress AS p
     SET charge_retries = charge_retries + 1, charge_again_at = now() + ${backoff('charge_retries + 1', MAX_SILENCE)}
     FROM due JOIN ${SCHEMA}.orders o ON o.id = due.order_id WHERE p.order_id = due.order_id
     RETURNING ${ATTEMPT}`,
    [againMs, limit],
  );
}

/** Confirms an order that is paid, also if a later response had set it back to waiting. */
export const CONFIRM_PAYMENT = defineStatement({
  effects: `WITH changed AS (
    UPDATE ${SCHEMA}.progress AS p
    SET state = 'firm', paid_at = now(), charge_again_at = NULL, asked = 0, ask_again_at = now() + $2::integer * ${MS}
    WHERE p.order_id = $1::uuid AND p.state IN ('paying', 'awaiting-payment')
    RETURNING p.*
  )`,
  events: CHANGED,
  params: (orderId: string, resendAfterMs: number) => [orderId, resendAfterMs],
});

/** The attempt was declined: the order waits again, and may expire. */
export async function endAttempt(database: Database, { orderId, attempt }: Attempt): Promise<void> {
  await database.execute(
    `UPDATE ${SCHEMA}.progress SET state = 'awaiting-payment', charge_again_at = NULL
     WHERE order_id = $1 AND state = 'paying' AND attempt = $2`,
    [orderId, attempt],
  );
}

/** A refund that is due. */
export interface DueRefund {
  readonly orderId: string;
  /** Including the one that begins now. */
  readonly attempts: number;
  /** Whether the provider has rejected it before. */
  readonly rejected: boolean;
}

/**
 * Takes up due refunds of cancelled orders, at most `limit`, each for `againMs` or, with each attempt, twice as long: up to
 * an hour once the provider has rejected it, because that ends only when somebody does something about it.
 */
export function takeGiveBacks(database: Database, againMs: number, limit: number): Promise<DueRefund[]> {
  return database.query<DueRefund>(
    `WITH due AS (
       SELECT order_id FROM ${SCHEMA}.progress WHERE give_back_at <= now()
       ORDER BY give_back_at LIMIT $2 FOR UPDATE SKIP LOCKED
     )
     UPDATE ${SCHEMA}.progress AS p
     SET refund_attempts = refund_attempts + 1,
         give_back_at = now() + CASE WHEN refund_rejected THEN ${backoff('refund_attempts')}
           ELSE ${backoff('refund_attempts', MAX_SILENCE)} END
     FROM due WHERE p.order_id = due.order_id
     RETURNING p.order_id AS "orderId", p.refund_attempts AS attempts, p.refund_rejected AS rejected`,
    [againMs, limit],
  );
}

export async function givenBack(database: Database, orderIds: readonly string[]): Promise<void> {
  await database.execute(
    `UPDATE ${SCHEMA}.progress SET give_back_at = NULL, refund_rejected = false WHERE order_id = ANY($1::uuid[])`,
    [orderIds],
  );
}

/** The provider rejects these refunds. They stay due. */
export async function refundsRejected(database: Database, orderIds: readonly string[]): Promise<void> {
  await database.execute(
    `UPDATE ${SCHEMA}.progress SET refund_rejected = true
     WHERE order_id = ANY($1::uuid[]) AND give_back_at IS NOT NULL`,
    [orderIds],
  );
}
