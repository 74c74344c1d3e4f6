// The request bodies that every part of the benchmark sends: the same ones, in the same order, to the bare route and to
// the system.

/** Accepted orders that are not completed, at a time, while the load is sustained. */
export const MAX_OPEN = 2_000;

/** Order bodies before they repeat; enough users that no row is hotter than in a shop. */
const VARIETY = 1_000;
const MAX_ITEMS = 4;
/** Of a buyer's number, so that all purchase bodies have the same length. */
const DIGITS = 9;

/** Sizes and prices vary as a shop's do, so some orders earn a coupon and others do not. */
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

/** A purchase by a new user. */
export const purchaseBody = (index: number): string =>
  JSON.stringify({ userId: `buyer-${String(index).padStart(DIGITS, '0')}` });
