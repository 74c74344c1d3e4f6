// Checks what is stored in the end: audits the whole system, and checks that every order that got a 2xx exists and has all
// its steps done. The audit alone does not know which orders were accepted.
import type { OrderFact } from '../../contracts/facts.ts';
import { FactsClient } from '../shared/auditor/facts-client.ts';
import { audit } from '../shared/auditor/run.ts';
import { count } from '../shared/terminal.ts';
import type { OutageSystem } from './system.ts';

/** The audit's settle time. Every order is completed before. */
const SETTLE_MS = 5_000;
const MOST_IDS = 10;

export type Verification = Awaited<ReturnType<typeof verify>>;

/**
 * `accepted`: the ids of the orders that got a 2xx. Resolves with the audit's report, and with the problems, each with
 * its first ids; `findings` is empty if there are none.
 */
export async function verify(system: OutageSystem, accepted: readonly string[], signal: AbortSignal) {
  const client = new FactsClient(system.urlOf, signal);
  const startedAt = performance.now();
  try {
    const facts = await client.facts('order', accepted);
    const { report } = await audit({ client, startedAt, settleMs: SETTLE_MS, signal });
    const violations = report.violations.flatMap(({ text, total, ids }) => finding(text, ids, total));
    return { report, findings: [...findingsOf(facts, accepted), ...violations] };
  } finally {
    await client.close();
  }
}

/** Accepted orders that are missing or not completed. */
export function findingsOf(facts: ReadonlyMap<string, OrderFact>, accepted: readonly string[]): string[] {
  const unfinished = accepted.filter((id) => {
    const fact = facts.get(id);
    return fact && !Object.values(fact.steps).every((step) => step === 'done' || step === 'skipped');
  });
  const missing = accepted.filter((id) => !facts.has(id));
  return [
    ...finding('accepted orders are missing', missing),
    ...finding('accepted orders are not completed', unfinished),
  ];
}

function finding(what: string, ids: readonly string[], total = ids.length): string[] {
  if (total === 0) return [];
  return [`${what}: ${count(total)}: ${ids.slice(0, MOST_IDS).join(', ')}${total > MOST_IDS ? ', …' : ''}`];
}
