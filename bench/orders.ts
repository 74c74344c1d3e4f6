// The orders that every part of the benchmark sends: the same bodies, in the same order, to the bare route and to the
// system. Sizes and prices vary as a shop's do, so that some orders earn a coupon and others do not.

/** Orders that are accepted and not completed at a time while the load is sustained. */
export const MAX_OPEN = 2_000;

/** Bodies that are repeated over and over; several users, so that no row is hotter than in a shop. */
const VARIETY = 1_000;
const MAX_ITEMS = 4;

function orderBody(index: number): string {
  const items = Array.from({ length: 1 + (index % MAX_ITEMS) }, (_, i) => ({
    sku: `SKU-${(index * 7 + i * 13) % 500}`,
    name: 'White hanging heart T-light holder',
    quantity: 1 + ((index + i) % 6),
    unitPrice: 95 + ((index * 31 + i * 17) % 2_500),
  }));
  return JSON.stringify({ userId: `user-${index}`, currency: 'GBP', items });
}

export const orderBodies = (): string[] => Array.from({ length: VARIETY }, (_, index) => orderBody(index));
