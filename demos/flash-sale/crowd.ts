// Sends the buyers in when they come, however the server answers (an open loop), and again when they decide so.

import { Agenda } from './agenda.ts';
import type { Plan } from './arrivals.ts';
import { type History, nextVisit } from './buyer.ts';
import type { PurchaseClient } from './purchases.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';

interface Attempt {
  readonly buyer: number;
  readonly again: boolean;
  readonly history: History;
}

export interface CrowdOptions {
  readonly plan: Plan;
  readonly client: PurchaseClient;
  readonly tally: Tally;
  /** The moment of the opening, by performance.now(). */
  readonly openingAt: number;
  readonly random: Random;
  readonly signal: AbortSignal;
}

/** Resolves when every buyer is in or has left. Rejects when `signal` aborts. */
export function letIn({ plan, client, tally, openingAt, random, signal }: CrowdOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    let pending = plan.visits.length;
    const agenda = new Agenda<Attempt>((attempt, at) => send(attempt, at - openingAt));
    const onAbort = () => {
      agenda.clear();
      reject(signal.reason);
    };
    const leave = () => {
      pending--;
      if (pending > 0) return;
      signal.removeEventListener('abort', onAbort);
      resolve();
    };
    const send = ({ buyer, again, history }: Attempt, arrivedMs: number) => {
      const who = plan.buyers[buyer];
      if (!who) throw new RangeError(`there is no buyer ${buyer}`);
      tally.send(arrivedMs, again);
      client.buy(who.userId, (answer, waitedMs) => {
        const nowMs = performance.now() - openingAt;
        tally.answer(buyer, answer, arrivedMs, nowMs, waitedMs);
        if (signal.aborted) return;
        const next = nextVisit(answer, who, history, { arrivedMs, nowMs }, random());
        if (next) agenda.add(openingAt + next.atMs, { buyer, again: true, history: next.history });
        else leave();
      });
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    for (const { buyer, atMs, again = false } of plan.visits)
      agenda.add(openingAt + atMs, { buyer, again, history: { returned: 0, failures: 0 } });
  });
}
