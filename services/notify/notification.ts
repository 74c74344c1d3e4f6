import type { EventData } from '../../contracts/events.ts';
import { formatMoney } from '../../contracts/money.ts';

type Placed = Pick<EventData<'order.placed'>, 'itemCount' | 'total' | 'currency'>;

const describe = ({ itemCount, total, currency }: Placed) =>
  `order of ${itemCount} ${itemCount === 1 ? 'item' : 'items'} for ${formatMoney(total, currency)}`;

/** What the user reads. */
export const placedText = (order: Placed) => `Thank you: your ${describe(order)} is placed.`;

export const cancelledText = ({ placed, reason }: EventData<'order.cancelled'>) =>
  `Your ${placed ? describe(placed) : 'order'} is cancelled${reason ? `: ${reason}` : ''}.`;
