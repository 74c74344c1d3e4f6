// order.cancelled → the award is taken back → points.revoked. An order that was firm gets its award first where it has
// none yet: the ledger is the same in whatever order the two events arrive, and a late order.placed changes nothing.
import { v7 as uuidv7 } from 'uuid';
import type { Event } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { awardFor } from './award-points.ts';
import { insertAwards, insertRevokes, RESULTS } from './store/entries.ts';

export function revokePoints(outbox: Outbox, perMajorUnit: number): Handler<Event<'order.cancelled'>> {
  return {
    handle: async (tx, events) => {
      const orders = events.map(({ data }) => data);
      await insertAwards(
        tx,
        orders.flatMap(({ placed, ...order }) => (placed ? [awardFor({ ...order, ...placed }, perMajorUnit)] : [])),
      );
      await insertRevokes(
        tx,
        orders.map(({ orderId, userId }) => ({ id: uuidv7(), eventId: uuidv7(), orderId, userId })),
      );
      const orderIds = orders.map(({ orderId }) => orderId);
      await outbox.write(tx, RESULTS, orderIds);
    },
    resendReplies: (tx, orderIds) => outbox.write(tx, RESULTS, orderIds),
  };
}
