// The payment provider's HTTP interface, for its client and for the simulated provider: PUT and DELETE
// /charges/:orderId. The order's id is the idempotency key. 200: the outcome. 4xx except 408, 425 and 429: the call is
// rejected; 422: the key was charged with another amount or currency. After any other response, or none, the outcome is
// unknown.
import { z } from 'zod';
import { currency } from './money.ts';
import { pageSchema } from './pages.ts';
import { count, instant, uuid } from './text.ts';

export const chargeRequest = z.strictObject({ amount: z.int().min(0), currency });
export type ChargeRequest = z.infer<typeof chargeRequest>;

export const chargeResponse = z.object({ outcome: z.enum(['approved', 'declined']) });
export type ChargeResponse = z.infer<typeof chargeResponse>;

export const cancelResponse = z.object({ outcome: z.literal('cancelled') });

/** GET /healthz of the simulated provider: `underWay` counts charges and cancellations without a response. */
export const providerHealth = z.object({ status: z.literal('up'), underWay: count });

/** GET /charges and GET /charges/:orderId of the simulated provider. */
export const ledgerEntry = z.object({
  orderId: uuid,
  status: z
    .enum(['charged', 'refunded', 'cancelled'])
    .describe(
      '`refunded`: charged, then cancelled. `cancelled`: never charged, and never will be. Declined charges are not kept.',
    ),
  amount: z.int().optional(),
  currency: z.string().optional(),
  chargedAt: instant.optional(),
  cancelledAt: instant.optional(),
});
export type LedgerEntry = z.infer<typeof ledgerEntry>;
export const ledgerPage = pageSchema(ledgerEntry);
