// What the coupon service has stored about an order, for its history.
import { formatMoney } from '../../../contracts/money.ts';
import { isoMicros } from '../../../infra/database/sql.ts';
import type { HistoryEntry, ReadHistory } from '../../../infra/messaging/history.ts';
import { SCHEMA } from './coupons.ts';

interface Decision {
  readonly at: string;
  readonly eventId: string;
  readonly amount: number | null;
  readonly currency: string | null;
  readonly reason: string | null;
  readonly revokedAt: string | null;
  readonly revokedEventId: string | null;
}

export const couponHistory: ReadHistory = async (database, orderIds) => {
  const decisions = await database.query<Decision>(
    `SELECT ${isoMicros('at')} AS at, event_id AS "eventId", amount, currency, reason,
       ${isoMicros('revoked_at')} AS "revokedAt", revoked_event_id AS "revokedEventId"
     FROM ${SCHEMA}.decisions WHERE order_id = ANY($1::uuid[])`,
    [orderIds],
  );
  return decisions.flatMap((decision) => [...madeEntries(decision), ...revokedEntries(decision)]);
};

/** None for a decision that was revoked at once: its event was never published. */
function madeEntries({ at, eventId, amount, currency, reason, revokedAt }: Decision): HistoryEntry[] {
  if (revokedAt === at) return [];
  const about = { at, kind: 'written', eventId };
  return amount === null || currency === null
    ? [{ ...about, type: 'coupon.skipped', detail: reason ?? '' }]
    : [{ ...about, type: 'coupon.issued', detail: formatMoney(amount, currency) }];
}

const revokedEntries = ({ revokedAt: at, revokedEventId: eventId, amount }: Decision): HistoryEntry[] =>
  at === null || eventId === null
    ? []
    : [{ at, kind: 'written', eventId, type: 'coupon.revoked', ...(amount === null && { detail: 'no coupon' }) }];
