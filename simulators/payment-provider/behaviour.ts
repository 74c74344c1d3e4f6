// The misbehaviour that the simulated provider can be told to show, and the routes that tell it.
import { z } from 'zod';
import type { Route } from '../../contracts/routes/route.ts';

const milliseconds = z.int().min(0).max(600_000).default(0);

/**
 * The ledger stays right: a key is charged at most once, and never after its cancellation. Applies to charges and
 * cancellations, not to reading the ledger. Default: off.
 */
export const behaviour = z.strictObject({
  declineEvery: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(0)
    .describe('Declines each n-th charge that is decided: 1 declines all, 0 none.'),
  declineShare: z.number().min(0).max(1).default(0).describe('The probability, 0 to 1, that a charge is declined.'),
  /** Waits before working on a request, and drops it if its client has hung up by then. */
  delayMs: milliseconds,
  /** Decides a charge after this time, even if its client has hung up. */
  decideLateMs: milliseconds,
  /** Acts at once, and responds after this time. */
  respondLateMs: milliseconds,
  away: z.boolean().default(false).describe('Hangs up on every request.'),
});
export type Behaviour = z.infer<typeof behaviour>;

export const behaviourRoutes = {
  readBehaviour: {
    method: 'get',
    path: '/behaviour',
    summary: 'Read how the simulated provider behaves',
    access: 'operator',
    responses: { 200: { about: 'The behaviour.', json: behaviour } },
  },
  setBehaviour: {
    method: 'put',
    path: '/behaviour',
    summary: 'Set how the simulated provider behaves',
    access: 'operator',
    body: { schema: behaviour },
    responses: { 200: { about: 'The new behaviour.', json: behaviour } },
  },
} as const satisfies Record<string, Route>;
