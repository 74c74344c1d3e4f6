// order.placed, order.cancelled → one notification of each kind, stored and published on the user's topic →
// notification.sent.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import { formatMoney } from '../../contracts/money.ts';
import { type Outbox, replyWith } from '../../infra/messaging/outbox.ts';
import { type Kind, type NewNotification, SENT, STORE_NOTIFICATIONS } from './store/notifications.ts';

export const notifyOfPlacing = (outbox: Outbox) =>
  replyWith<Event<'order.placed'>>(outbox, SENT, (tx, events) => {
    const notifications = events.map(({ data }) => notification(data, 'order.placed', placedText(data)));
    return outbox.write(tx, STORE_NOTIFICATIONS, notifications, 'order.placed');
  });

/**
 * If the order was confirmed and its first notification is missing, that one is stored too, but not published: "placed"
 * after "cancelled" would mislead the user. So the history is the same in either order of the two events.
 */
export const notifyOfCancelling = (outbox: Outbox) =>
  replyWith<Event<'order.cancelled'>>(outbox, SENT, (tx, events) => {
    const notifications = events.flatMap(({ data }) => [
      ...(data.placed ? [notification(data, 'order.placed', placedText(data.placed))] : []),
      notification(data, 'order.cancelled', cancelledText(data)),
    ]);
    return outbox.write(tx, STORE_NOTIFICATIONS, notifications, 'order.cancelled');
  });

const notification = (
  { orderId, userId }: Pick<EventData<'order.placed'>, 'orderId' | 'userId'>,
  kind: Kind,
  text: string,
): NewNotification => ({ id: uuidv7(), eventId: uuidv7(), orderId, userId, kind, text });

type Placed = Pick<EventData<'order.placed'>, 'itemCount' | 'total' | 'currency'>;

const describe = ({ itemCount, total, currency }: Placed) =>
  `order of ${itemCount} ${itemCount === 1 ? 'item' : 'items'} for ${formatMoney(total, currency)}`;

const placedText = (order: Placed) => `Thank you: your ${describe(order)} is placed.`;

const cancelledText = ({ placed, reason }: EventData<'order.cancelled'>) =>
  `Your ${placed ? describe(placed) : 'order'} is cancelled${reason ? `: ${reason}` : ''}.`;
