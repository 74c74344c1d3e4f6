// The result of an outage: did buyers notice, how long was the backlog, how soon was it gone, is anything missing.
import { latencyOf } from '../shared/statistics.ts';
import { count } from '../shared/terminal.ts';
import { type Answer, byStatus, isAccepted, latencyMsOf } from './flow.ts';
import type { Scenario } from './scenario.ts';
import type { OutageSystem } from './system.ts';
import type { Verification } from './verification.ts';

export type Summary = ReturnType<typeof summarize>;

export function summarize(
  scenario: Scenario,
  { shape, prefix }: Pick<OutageSystem, 'shape' | 'prefix'>,
  audit: Verification,
) {
  const { settings, answers, samples, seconds, stopMs, goneMs, backMs, readyMs, caughtUpMs, completedMs } = scenario;
  const waiting = samples.filter(({ atMs }) => atMs >= stopMs).map((sample) => sample.waiting[settings.service]);
  const phases = [
    phaseOf('before', answers, 0, stopMs),
    phaseOf('during', answers, stopMs, readyMs),
    phaseOf('after', answers, readyMs, Number.POSITIVE_INFINITY),
  ];
  return {
    settings,
    shape,
    /** Of its names on the brokers; null if embedded. */
    prefix: prefix ?? null,
    phases,
    /** The service was gone between these, in milliseconds after the first second began. */
    goneMs: Math.round(goneMs),
    readyMs: Math.round(readyMs),
    /** Orders that waited for the service, at most. */
    longestBacklog: Math.max(0, ...waiting),
    /** From the request to start until it was ready, and until its backlog was no longer than before; null: never. */
    readyAfterMs: Math.round(readyMs - backMs),
    caughtUpAfterMs: caughtUpMs === undefined ? null : Math.round(caughtUpMs - backMs),
    /** Every accepted order was completed in time. */
    completed: completedMs !== undefined,
    audit,
    seconds,
    /** Why the demonstration failed; empty if it did not. */
    failures: failuresOf(scenario, audit),
  };
}

/** The orders that were due from `fromMs` until before `toMs`. */
function phaseOf(name: 'before' | 'during' | 'after', answers: readonly Answer[], fromMs: number, toMs: number) {
  const within = answers.filter(({ dueMs }) => dueMs >= fromMs && dueMs < toMs);
  const accepted = within.filter(isAccepted);
  return {
    name,
    orders: within.length,
    /** With a 2xx; the other answers are counted by status. */
    accepted: accepted.length,
    others: byStatus(within.filter((answer) => !isAccepted(answer))),
    /** Of the accepted orders, from the time at which they were due; null without any. */
    latencyMs: latencyOf(accepted.map(latencyMsOf)) ?? null,
  };
}

function failuresOf({ settings, answers, caughtUpMs, completedMs }: Scenario, audit: Verification): string[] {
  const { service, timeoutSeconds } = settings;
  const others = answers.filter((answer) => !isAccepted(answer));
  const reasons = Object.entries(byStatus(others)).map(([status, times]) => `${count(times)} × ${statusText(status)}`);
  return [
    ...(others.length > 0 ? [`${count(others.length)} orders did not get a 2xx: ${reasons.join(', ')}`] : []),
    ...(caughtUpMs === undefined ? [`${service} has not caught up ${timeoutSeconds} s after it was back`] : []),
    ...(completedMs === undefined
      ? [`not every order is completed ${timeoutSeconds} s after the last one was placed`]
      : []),
    ...audit.findings,
  ];
}

export const statusText = (status: string): string => (status === 'none' ? 'no answer' : status);
