// The payment provider's HTTP interface, as its client and the simulated provider both parse it:
//
//   PUT    /charges/:orderId   { amount, currency }  ─► 200 { outcome: 'approved' | 'declined' }
//   DELETE /charges/:orderId                         ─► 200 { outcome: 'cancelled' }
//
// 422: the key is charged with another amount or currency. Anything else is no answer (port.ts: PaymentUnknown).
import { z } from 'zod';
import { currency } from './money.ts';
import { pageSchema } from './pages.ts';
import { instant, uuid } from './text.ts';

export const chargeRequest = z.strictObject({ amount: z.int().min(0), currency });

export const chargeAnswer = z.object({ outcome: z.enum(['approved', 'declined']) });
export type ChargeAnswer = z.infer<typeof chargeAnswer>;

export const cancelAnswer = z.object({ outcome: z.literal('cancelled') });
export type CancelAnswer = z.infer<typeof cancelAnswer>;

/** What the simulated provider shows of a key: GET /charges and GET /charges/:orderId. */
export const ledgerEntry = z.object({
  orderId: uuid,
  /** `refunded`: charged, then cancelled. `cancelled`: never charged, and never will be. Declined charges are not kept. */
  status: z.enum(['charged', 'refunded', 'cancelled']),
  amount: z.int().optional(),
  currency: z.string().optional(),
  chargedAt: instant.optional(),
  cancelledAt: instant.optional(),
});
export type LedgerEntry = z.infer<typeof ledgerEntry>;
export const ledgerPage = pageSchema(ledgerEntry);
