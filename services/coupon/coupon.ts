import type { EventData } from '../../contracts/events.ts';
import { formatMoney, minorUnitsPerMajor } from '../../contracts/money.ts';

export interface CouponRules {
  /** Of the total, rounded down. */
  readonly percent: number;
  /** Least total, in major units, that earns a coupon. */
  readonly minMajorUnits: number;
}

export type Decision = { readonly amount: number } | { readonly reason: string };

/** A coupon for this order, or why there is none. */
export function decide(
  { total, currency }: Pick<EventData<'order.placed'>, 'total' | 'currency'>,
  rules: CouponRules,
): Decision {
  const least = rules.minMajorUnits * minorUnitsPerMajor(currency);
  if (total < least) return { reason: `total below ${formatMoney(least, currency)}` };
  const amount = Number((BigInt(total) * BigInt(rules.percent)) / 100n);
  return amount > 0 ? { amount } : { reason: `${rules.percent} % of the total is less than the smallest coin` };
}
