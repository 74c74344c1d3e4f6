// order.placed → one entry in the ledger → points.awarded. order.cancelled → an entry that takes the award back →
// points.revoked.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import { minorUnitsPerMajor } from '../../contracts/money.ts';
import { type Outbox, replyWith } from '../../infra/messaging/outbox.ts';
import { type Award, insertAwards, insertRevokes, RESULTS } from './store/entries.ts';

type Placed = EventData<'order.placed'>;

export const awardPoints = (outbox: Outbox, perMajorUnit: number) =>
  replyWith<Event<'order.placed'>>(outbox, RESULTS, (tx, events) =>
    insertAwards(
      tx,
      events.map(({ data }) => awardFor(data, perMajorUnit)),
    ),
  );

/**
 * If the order was confirmed and has no award yet, the award is written first. So the ledger is the same
 * whichever of the two events arrives first, and a late order.placed changes nothing.
 */
export const revokePoints = (outbox: Outbox, perMajorUnit: number) =>
  replyWith<Event<'order.cancelled'>>(outbox, RESULTS, async (tx, events) => {
    const orders = events.map(({ data }) => data);
    await insertAwards(
      tx,
      orders.flatMap(({ placed, ...order }) => (placed ? [awardFor({ ...order, ...placed }, perMajorUnit)] : [])),
    );
    await insertRevokes(
      tx,
      orders.map(({ orderId, userId }) => ({ id: uuidv7(), eventId: uuidv7(), orderId, userId })),
    );
  });

const awardFor = (
  { orderId, userId, ...order }: Pick<Placed, 'orderId' | 'userId' | 'currency' | 'total'>,
  perMajorUnit: number,
): Award => ({ id: uuidv7(), eventId: uuidv7(), orderId, userId, points: pointsFor(order, perMajorUnit) });

/** Points for an order: `perMajorUnit` for each whole major unit of the total (GBP 19.99: 19 units). */
export function pointsFor({ total, currency }: Pick<Placed, 'total' | 'currency'>, perMajorUnit: number): number {
  const units = Math.floor(total / minorUnitsPerMajor(currency));
  return Math.min(units * perMajorUnit, Number.MAX_SAFE_INTEGER);
}
