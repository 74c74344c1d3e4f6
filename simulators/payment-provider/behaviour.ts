// The misbehaviour that the simulated provider can be told to show. Its ledger stays right: a key is charged at most
// once, and never after its cancellation.
import { z } from 'zod';

const MAX_MS = 600_000;
const milliseconds = z.int().min(0).max(MAX_MS).default(0);

/** Applies to charges and cancellations, not to reading the ledger. A field that is left out is off. */
export const behaviour = z.strictObject({
  /** Declines each n-th charge that is decided: 1 declines all, 0 none. */
  declineEvery: z.int().min(0).max(1_000_000).default(0),
  /** The probability, 0 to 1, that a charge is declined. */
  declineShare: z.number().min(0).max(1).default(0),
  /** Waits before working on a request, and drops it if its client has hung up by then. */
  delayMs: milliseconds,
  /** Decides a charge after this time, even if its client has hung up. */
  decideLateMs: milliseconds,
  /** Acts at once, and responds after this time. */
  respondLateMs: milliseconds,
  /** Hangs up on every request. */
  away: z.boolean().default(false),
});
export type Behaviour = z.infer<typeof behaviour>;

/** Returns a function that decides the next charge by the current behaviour: true approves it. */
export function approvals(current: () => Behaviour, random = Math.random): () => boolean {
  let decided = 0;
  return () => {
    const { declineEvery, declineShare } = current();
    decided++;
    const isNth = declineEvery > 0 && decided % declineEvery === 0;
    return !isNth && random() >= declineShare;
  };
}
