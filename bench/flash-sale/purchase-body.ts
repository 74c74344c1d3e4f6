// The purchases that the load generator sends, each by a new user.

/** All bodies are of the same length. */
const DIGITS = 9;

export const purchaseBody = (index: number): string =>
  JSON.stringify({ userId: `buyer-${String(index).padStart(DIGITS, '0')}` });
