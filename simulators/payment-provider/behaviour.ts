// What the simulated provider can be told to do wrong. It never does wrong by its ledger: whatever it says or does not
// say, a key is charged at most once and a cancelled one never.
import { z } from 'zod';

const MAX_MS = 600_000;
const milliseconds = z.int().min(0).max(MAX_MS).default(0);

/** Applies to charges and cancellations, not to reading the ledger. What is left out is off. */
export const behaviour = z.strictObject({
  /** Each n-th charge that is decided is declined: 1 declines all, 0 none. */
  declineEvery: z.int().min(0).max(1_000_000).default(0),
  /** The probability, 0 to 1, that a charge is declined. */
  declineShare: z.number().min(0).max(1).default(0),
  /** A request waits this long before it is looked at; one whose client has hung up by then is forgotten. */
  delayMs: milliseconds,
  /** A charge is decided after this, whether or not somebody still waits for the answer. */
  decideLateMs: milliseconds,
  /** Acts at once, and answers after this. */
  answerLateMs: milliseconds,
  /** Hangs up on every request. */
  away: z.boolean().default(false),
});
export type Behaviour = z.infer<typeof behaviour>;

/** Decides one charge after the other by how the provider behaves at that time: whether it is approved. */
export function approvals(current: () => Behaviour, random = Math.random): () => boolean {
  let decided = 0;
  return () => {
    const { declineEvery, declineShare } = current();
    decided++;
    const unlucky = declineEvery > 0 && decided % declineEvery === 0;
    return !unlucky && random() >= declineShare;
  };
}
