// order.placed → one entry in the ledger → points.awarded.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { pointsFor } from './points.ts';
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
