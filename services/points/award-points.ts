// Awarding points: order.placed → one entry in the user's ledger → points.awarded.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import { minorUnitsPerMajor } from '../../contracts/money.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { type Award, insertAwards, RESULTS } from './store/entries.ts';

export function awardPoints(outbox: Outbox, perMajorUnit: number): Handler<Event<'order.placed'>> {
  return {
    handle: async (tx, events) => {
      const awards = events.map(({ data }) => awardFor(data, perMajorUnit));
      await insertAwards(tx, awards);
      const orderIds = awards.map(({ orderId }) => orderId);
      await outbox.write(tx, RESULTS, orderIds);
    },
    resendReplies: (tx, orderIds) => outbox.write(tx, RESULTS, orderIds),
  };
}

export const awardFor = (
  order: Pick<EventData<'order.placed'>, 'orderId' | 'userId' | 'currency' | 'total'>,
  perMajorUnit: number,
): Award => ({
  id: uuidv7(),
  eventId: uuidv7(),
  orderId: order.orderId,
  userId: order.userId,
  points: pointsFor(order, perMajorUnit),
});

/** Points for an order: `perMajorUnit` for each whole major unit of the total (GBP 19.99: 19 units). */
export function pointsFor(
  { total, currency }: Pick<EventData<'order.placed'>, 'total' | 'currency'>,
  perMajorUnit: number,
): number {
  const units = Math.floor(total / minorUnitsPerMajor(currency));
  return Math.min(units * perMajorUnit, Number.MAX_SAFE_INTEGER);
}
