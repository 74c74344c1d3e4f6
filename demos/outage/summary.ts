// The result of an outage: did buyers notice, how long was the backlog, how soon was it gone, is anything missing.
import type { OrderFact } from '../../contracts/facts.ts';
import { FactsClient } from '../shared/auditor/facts-client.ts';
import { audit } from '../shared/auditor/run.ts';
import { latencyOf } from '../shared/statistics.ts';
import { count } from '../shared/terminal.ts';
import { byStatus, isAccepted, latencyMsOf, type OrderResponse } from './flow.ts';
import type { Scenario } from './scenario.ts';
import type { OutageSystem } from './system.ts';

/** The audit's settle time. Every order is completed before. */
const SETTLE_MS = 5_000;
const MOST_IDS = 10;

export type Summary = ReturnType<typeof summarize>;

export function summarize(
  scenario: Scenario,
  { shape, prefix }: Pick<OutageSystem, 'shape' | 'prefix'>,
  verification: Verification,
) {
  const { settings, responses, samples, seconds, stopMs, goneMs, backMs, readyMs, caughtUpMs, completedMs } = scenario;
  const waiting = samples.filter(({ atMs }) => atMs >= stopMs).map((sample) => sample.waiting[settings.service]);
  const phases = [
    phaseOf('before', responses, 0, stopMs),
    phaseOf('during', responses, stopMs, readyMs),
    phaseOf('after', responses, readyMs, Number.POSITIVE_INFINITY),
  ];
  return {
    settings,
    shape,
    /** The prefix of its queues and topics; null if embedded. */
    prefix: prefix ?? null,
    phases,
    /** The service was gone between these, in milliseconds after the first second began. */
    goneMs: Math.round(goneMs),
    readyMs: Math.round(readyMs),
    /** The maximum number of orders that waited for the service. */
    longestBacklog: Math.max(0, ...waiting),
    /** Times from the request to start until it was ready, and until its backlog was as short as before; null: never. */
    readyAfterMs: Math.round(readyMs - backMs),
    caughtUpAfterMs: caughtUpMs === undefined ? null : Math.round(caughtUpMs - backMs),
    /** Every accepted order was completed in time. */
    completed: completedMs !== undefined,
    audit: verification,
    seconds,
    /** Why the demonstration failed; empty if it did not. */
    failures: failuresOf(scenario, verification),
  };
}

/** The orders that were due from `fromMs` until before `toMs`. */
function phaseOf(
  name: 'before' | 'during' | 'after',
  responses: readonly OrderResponse[],
  fromMs: number,
  toMs: number,
) {
  const within = responses.filter(({ dueMs }) => dueMs >= fromMs && dueMs < toMs);
  const accepted = within.filter(isAccepted);
  return {
    name,
    orders: within.length,
    /** The number of orders with a 2xx; the other responses are counted by status. */
    accepted: accepted.length,
    others: byStatus(within.filter((response) => !isAccepted(response))),
    /** The latencies of the accepted orders, from the time at which they were due; null without any. */
    latencyMs: latencyOf(accepted.map(latencyMsOf)) ?? null,
  };
}

function failuresOf({ settings, responses, caughtUpMs, completedMs }: Scenario, { findings }: Verification): string[] {
  const { service, timeoutSeconds } = settings;
  const others = responses.filter((response) => !isAccepted(response));
  const reasons = Object.entries(byStatus(others)).map(([status, times]) => `${count(times)} × ${statusText(status)}`);
  return [
    ...(others.length > 0 ? [`${count(others.length)} orders did not get a 2xx: ${reasons.join(', ')}`] : []),
    ...(caughtUpMs === undefined ? [`${service} has not caught up ${timeoutSeconds} s after it was back`] : []),
    ...(completedMs === undefined
      ? [`not every order is completed ${timeoutSeconds} s after the last one was placed`]
      : []),
    ...findings,
  ];
}

export const statusText = (status: string): string => (status === 'none' ? 'no response' : status);

export type Verification = Awaited<ReturnType<typeof verify>>;

/**
 * Checks what is stored in the end: audits the whole system, and checks that every accepted order exists and has all
 * its steps done, because the audit alone does not know which orders got a 2xx. `accepted`: their ids. `findings`: the
 * problems, each with its first ids.
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

/** The problems with accepted orders. */
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
