import { v7 as uuidv7 } from 'uuid';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { pointsFor } from './points.ts';
import { AWARDED, insertAwards } from './store.ts';

/** order.placed → one entry in the ledger → points.awarded. */
export function awardPoints(outbox: Outbox, perMajorUnit: number): Handler<'order.placed'> {
  return {
    handle: async (tx, events) => {
      const awards = events.map(({ data }) => ({
        id: uuidv7(),
        eventId: uuidv7(),
        orderId: data.orderId,
        userId: data.userId,
        points: pointsFor(data, perMajorUnit),
      }));
      await insertAwards(tx, awards);
      const orderIds = awards.map(({ orderId }) => orderId);
      await outbox.write(tx, 'bus', AWARDED, [orderIds]);
    },
    repeat: (tx, orderIds) => outbox.write(tx, 'bus', AWARDED, [orderIds]),
  };
}
