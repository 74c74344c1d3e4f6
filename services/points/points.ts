import type { EventData } from '../../contracts/events.ts';
import { minorUnitsPerMajor } from '../../contracts/money.ts';

/** Points for an order: `perMajorUnit` for each whole major unit of the total (GBP 19.99: 19 units). */
export function pointsFor(
  { total, currency }: Pick<EventData<'order.placed'>, 'total' | 'currency'>,
  perMajorUnit: number,
): number {
  const units = Math.floor(total / minorUnitsPerMajor(currency));
  return Math.min(units * perMajorUnit, Number.MAX_SAFE_INTEGER);
}
