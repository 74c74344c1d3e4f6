// Purchases as the load generator sends them: every one by a user who has not come before.

/** All bodies are of the same length. */
const DIGITS = 9;

export const purchaseBody = (index: number): string =>
  JSON.stringify({ userId: `buyer-${String(index).padStart(DIGITS, '0')}` });
