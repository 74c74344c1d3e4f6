// The possible violations, each with the guarantee that it violates, and the violations that an audit found.

/** Ids that are kept of each rule, so that memory is bounded, however many violations there are. */
export const MAX_NAMED = 100;

export const invariants = {
  I1: 'every confirmed order has one points entry, one coupon decision and its notification; a cancelled one keeps nothing',
  I2: 'no effect without an order',
  I4: 'stock = remaining + held + sold, as the tickets say; a user has at most one live ticket, a ticket one order',
  I5: 'queued tickets never exceed the cap',
  I6: 'everything under way has an action due, such as a resend',
} as const;

/** `repairable`: a resend repairs it. Otherwise an operator has to act. */
type Rule = { readonly invariant: keyof typeof invariants; readonly text: string; readonly repairable?: true };

const define = <Name extends string>(named: Record<Name, Rule>): Readonly<Record<Name, Rule>> => named;

export const rules = define({
  'points-missing': { invariant: 'I1', text: 'no points entry', repairable: true },
  'points-doubled': { invariant: 'I1', text: 'more than one points entry of a kind' },
  'points-revoked': { invariant: 'I1', text: 'points revoked, but the order is not cancelled' },
  'points-not-revoked': { invariant: 'I1', text: 'cancelled, but its points are not revoked', repairable: true },
  'points-not-zero': { invariant: 'I1', text: 'cancelled, but its points do not add up to zero' },
  'coupon-missing': { invariant: 'I1', text: 'no coupon decision', repairable: true },
  'coupon-doubled': { invariant: 'I1', text: 'more than one coupon decision' },
  'coupon-revoked': { invariant: 'I1', text: 'coupon revoked, but the order is not cancelled' },
  'coupon-active': { invariant: 'I1', text: 'cancelled, but its coupon is active', repairable: true },
  'notification-missing': { invariant: 'I1', text: 'no notification', repairable: true },
  'notification-doubled': { invariant: 'I1', text: 'more than one notification of a kind' },
  'notification-wrong': { invariant: 'I1', text: 'a notification of something that did not happen' },
  'effect-too-early': { invariant: 'I1', text: 'an effect, and the order was never confirmed' },
  'effect-other-user': { invariant: 'I1', text: 'an effect for another user than the order’s' },
  'step-wrong': { invariant: 'I1', text: 'a step counts as reverted, but the order is not cancelled' },

  'points-without-order': { invariant: 'I2', text: 'points entry without an order' },
  'coupon-without-order': { invariant: 'I2', text: 'coupon decision without an order' },
  'notification-without-order': { invariant: 'I2', text: 'notification without an order' },
  'order-without-ticket': { invariant: 'I2', text: 'order of a ticket that does not exist' },

  'sale-totals': { invariant: 'I4', text: 'the totals differ from what the tickets say' },
  'sale-stock': { invariant: 'I4', text: 'stock is not remaining + held + sold' },
  'sale-negative': { invariant: 'I4', text: 'a negative number of units' },
  'ticket-doubled': { invariant: 'I4', text: 'a user with more than one live ticket' },
  'ticket-without-order': { invariant: 'I4', text: 'ordered, but there is no order' },
  'ticket-other-order': { invariant: 'I4', text: 'the ticket names another order' },
  'ticket-orders-doubled': { invariant: 'I4', text: 'a ticket with more than one order' },
  'ticket-other-user': { invariant: 'I4', text: 'the order of another user' },
  'ticket-too-early': { invariant: 'I4', text: 'an order, but the ticket has not left the queue' },
  'ticket-not-confirmed': { invariant: 'I4', text: 'ordered, and the order is not confirmed' },
  'stock-not-released': {
    invariant: 'I4',
    text: 'the order is cancelled, but its unit is still held or sold',
    repairable: true,
  },
  'stock-released': { invariant: 'I4', text: 'the unit was released, but the order is not cancelled' },

  'sale-over-cap': { invariant: 'I5', text: 'more queued tickets than the cap' },

  'order-without-progress': { invariant: 'I6', text: 'an order without a progress row' },
  'order-unaccounted': { invariant: 'I6', text: 'waits for something, but no action is due', repairable: true },
  'ticket-unaccounted': {
    invariant: 'I6',
    text: 'waits for an order or its outcome, but no resend is due',
    repairable: true,
  },
});
export type RuleName = keyof typeof rules;

/** Rules that each id seems to violate. */
export type Wrong = ReadonlyMap<string, readonly RuleName[]>;

export class Violations {
  /** `ids`: the first orders, tickets, or sales with what is wrong there. */
  readonly #found = new Map<RuleName, { total: number; ids: string[] }>();

  /** `times` is above 1 if one entry stands for several violations. */
  add(rule: RuleName, id: string, times = 1): void {
    const found = this.#found.get(rule) ?? { total: 0, ids: [] };
    found.total += times;
    if (found.ids.length < MAX_NAMED) found.ids.push(id);
    this.#found.set(rule, found);
  }

  /** In the order of the rules. */
  list() {
    return (Object.keys(rules) as RuleName[]).flatMap((rule) => {
      const found = this.#found.get(rule);
      const { invariant, text, repairable = false } = rules[rule];
      return found ? [{ rule, ...found, invariant, text, repairable }] : [];
    });
  }
}
