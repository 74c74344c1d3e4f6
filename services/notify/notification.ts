import type { EventData } from '../../contracts/events.ts';
import { formatMoney } from '../../contracts/money.ts';

/** What the user reads. */
export const placedText = ({ itemCount, total, currency }: EventData<'order.placed'>) =>
  `Thank you: your order of ${itemCount} ${itemCount === 1 ? 'item' : 'items'} for ${formatMoney(total, currency)} is placed.`;
