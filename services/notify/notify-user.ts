import { v7 as uuidv7 } from 'uuid';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { placedText } from './notification.ts';
import { SENT, storeNotifications } from './store.ts';

/** order.placed → one notification, stored and sent to the user's topic → notification.sent. */
export function notifyUser(outbox: Outbox): Handler<'order.placed'> {
  return {
    handle: async (tx, events) => {
      const notifications = events.map(({ data }) => ({
        id: uuidv7(),
        eventId: uuidv7(),
        orderId: data.orderId,
        userId: data.userId,
        kind: 'order.placed' as const,
        text: placedText(data),
      }));
      await storeNotifications(tx, outbox, notifications);
      const orderIds = notifications.map(({ orderId }) => orderId);
      await outbox.write(tx, 'bus', SENT, [orderIds]);
    },
    repeat: (tx, orderIds) => outbox.write(tx, 'bus', SENT, [orderIds]),
  };
}
