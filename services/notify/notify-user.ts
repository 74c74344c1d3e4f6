// order.placed, order.cancelled → one notification of each kind, stored and sent to the user's topic → notification.sent.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { cancelledText, placedText } from './notification.ts';
import { type NewNotification, SENT, STORE_NOTIFICATIONS } from './store/notifications.ts';

export const notifyOfPlacing = (outbox: Outbox): Handler<Event<'order.placed'>> => ({
  handle: async (tx, events) => {
    const notifications = events.map(({ data }) => notification(data, 'order.placed', placedText(data)));
    await outbox.write(tx, STORE_NOTIFICATIONS, notifications, 'order.placed');
    const orderIds = notifications.map(({ orderId }) => orderId);
    await outbox.write(tx, SENT, orderIds);
  },
  resendReplies: (tx, orderIds) => outbox.write(tx, SENT, orderIds),
});

/**
 * Where the order was firm and its placing has not been heard of yet, that notification is stored as well but not sent:
 * a user who reads "placed" after "cancelled" is misled, and the history is the same in whatever order the two arrive.
 */
export const notifyOfCancelling = (outbox: Outbox): Handler<Event<'order.cancelled'>> => ({
  handle: async (tx, events) => {
    const notifications = events.flatMap(({ data }) => [
      ...(data.placed ? [notification(data, 'order.placed', placedText(data.placed))] : []),
      notification(data, 'order.cancelled', cancelledText(data)),
    ]);
    await outbox.write(tx, STORE_NOTIFICATIONS, notifications, 'order.cancelled');
    const orderIds = events.map(({ data }) => data.orderId);
    await outbox.write(tx, SENT, orderIds);
  },
  resendReplies: (tx, orderIds) => outbox.write(tx, SENT, orderIds),
});

const notification = (
  { orderId, userId }: Pick<EventData<'order.placed'>, 'orderId' | 'userId'>,
  kind: NewNotification['kind'],
  text: string,
): NewNotification => ({ id: uuidv7(), eventId: uuidv7(), orderId, userId, kind, text });
