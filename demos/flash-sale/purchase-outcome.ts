// What a buyer may be answered.

/** `already`: a live ticket is answered again. `overloaded`: 503, and asking again tells whether there is a ticket.
 *  `error`: anything else, or no answer. */
export const purchaseOutcomes = [
  'admitted',
  'already',
  'queue-full',
  'sold-out',
  'not-open',
  'overloaded',
  'error',
] as const;
export type PurchaseOutcome = (typeof purchaseOutcomes)[number];

/** The reasons not to be let in. */
export const rejectedOutcomes = ['queue-full', 'sold-out', 'not-open', 'overloaded'] as const;
export type RejectedOutcome = (typeof rejectedOutcomes)[number];

/** How the terminal and the report call them. */
export const outcomeNames: Readonly<Record<PurchaseOutcome, string>> = {
  admitted: 'admitted',
  already: 'yours already',
  'queue-full': 'queue full',
  'sold-out': 'sold out',
  'not-open': 'not open',
  overloaded: 'overloaded',
  error: 'error',
};

export type PurchaseAnswer =
  | { readonly outcome: 'admitted' | 'already'; readonly ticketId: string; readonly position: number }
  | { readonly outcome: RejectedOutcome; readonly retryAfterMs: number | undefined }
  /** `lost`: nobody knows what was decided; asking again is safe. */
  | { readonly outcome: 'error'; readonly lost: boolean; readonly message: string };
