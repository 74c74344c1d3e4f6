// What can be wrong, each with the promise that it breaks.

interface Rule {
  readonly invariant: 'I1' | 'I2' | 'I4' | 'I6';
  readonly text: string;
  /** Whether asking again mends it. Otherwise somebody has to look at it. */
  readonly mends?: true;
}

const define = <Name extends string>(named: Record<Name, Rule>): Readonly<Record<Name, Rule>> => named;

export const invariants = {
  I1: 'every firm order has one points entry, one coupon decision and its notification; a cancelled one keeps nothing',
  I2: 'no effect without an order',
  I4: 'stock = remaining + held + sold, as the tickets say; a user has one live ticket at most, a ticket one order',
  I6: 'each request without a reply has been sent, and will be resent',
} as const;
export type Invariant = keyof typeof invariants;

export const rules = define({
  'points-missing': { invariant: 'I1', text: 'no points entry', mends: true },
  'points-doubled': { invariant: 'I1', text: 'more than one points entry of a kind' },
  'points-revoked': { invariant: 'I1', text: 'points taken back, and the order is not cancelled' },
  'points-not-revoked': { invariant: 'I1', text: 'cancelled, and its points are not taken back', mends: true },
  'points-not-zero': { invariant: 'I1', text: 'cancelled, and its points do not add up to zero' },
  'coupon-missing': { invariant: 'I1', text: 'no coupon decision', mends: true },
  'coupon-doubled': { invariant: 'I1', text: 'more than one coupon decision' },
  'coupon-revoked': { invariant: 'I1', text: 'coupon revoked, and the order is not cancelled' },
  'coupon-active': { invariant: 'I1', text: 'cancelled, and its coupon is active', mends: true },
  'notification-missing': { invariant: 'I1', text: 'no notification', mends: true },
  'notification-doubled': { invariant: 'I1', text: 'more than one notification of a kind' },
  'notification-wrong': { invariant: 'I1', text: 'a notification of what is not so' },
  'effect-too-early': { invariant: 'I1', text: 'an effect, and the order was never firm' },
  'effect-other-user': { invariant: 'I1', text: 'an effect for another user than the order’s' },
  'step-wrong': { invariant: 'I1', text: 'a step counts as reverted, and the order is not cancelled' },

  'points-without-order': { invariant: 'I2', text: 'points entry without an order' },
  'coupon-without-order': { invariant: 'I2', text: 'coupon decision without an order' },
  'notification-without-order': { invariant: 'I2', text: 'notification without an order' },
  'order-without-ticket': { invariant: 'I2', text: 'order of a ticket that does not exist' },

  'sale-books': { invariant: 'I4', text: 'the books are not what the tickets say' },
  'sale-stock': { invariant: 'I4', text: 'stock is not remaining + held + sold' },
  'sale-negative': { invariant: 'I4', text: 'less than none' },
  'sale-over-cap': { invariant: 'I4', text: 'more queued tickets than the cap' },
  'ticket-doubled': { invariant: 'I4', text: 'a user with more than one live ticket' },
  'ticket-without-order': { invariant: 'I4', text: 'ordered, and there is no order' },
  'ticket-other-order': { invariant: 'I4', text: 'the ticket names another order' },
  'ticket-orders-doubled': { invariant: 'I4', text: 'a ticket with more than one order' },
  'ticket-other-user': { invariant: 'I4', text: 'the order of another user' },
  'ticket-too-early': { invariant: 'I4', text: 'an order, and the ticket is not out of the queue' },
  'ticket-not-firm': { invariant: 'I4', text: 'ordered, and the order is not firm' },
  'unit-not-returned': { invariant: 'I4', text: 'the order is cancelled, and its unit is not back', mends: true },
  'unit-returned': { invariant: 'I4', text: 'the unit is back, and the order is not cancelled' },

  'order-without-progress': { invariant: 'I6', text: 'nobody knows how far the order is' },
  'order-unaccounted': { invariant: 'I6', text: 'waits for answers that nobody asks for', mends: true },
  'ticket-unaccounted': { invariant: 'I6', text: 'waits for an order that nobody asks for', mends: true },
});
export type RuleName = keyof typeof rules;
