// What an outage came to: did those who ordered notice, how much was waiting, how soon was it done, is anything missing.
import { type Latency, latencyOf } from '../shared/statistics.ts';
import { count } from '../shared/terminal.ts';
import type { Course, Settings } from './course.ts';
import { type Answer, byStatus, isAccepted, latencyMsOf } from './flow.ts';
import type { Second } from './seconds.ts';
import type { OutageSystem } from './system.ts';
import type { Verification } from './verification.ts';

export interface OutagePhase {
  readonly name: 'before' | 'during' | 'after';
  /** Orders that were to be sent in it, and those of them that were answered 2xx. */
  readonly orders: number;
  readonly accepted: number;
  /** The others, by status; `none`: without an answer. */
  readonly others: Readonly<Record<string, number>>;
  /** Of the accepted ones, from when they were to be sent; null where there are none. */
  readonly latencyMs: Latency | null;
}

export interface Summary {
  readonly settings: Settings;
  readonly shape: string;
  /** Of its names on the brokers; null: everything was embedded. */
  readonly prefix: string | null;
  readonly phases: readonly OutagePhase[];
  /** The service was gone from then until then, in milliseconds after the first second began. */
  readonly goneMs: number;
  readonly readyMs: number;
  /** The most orders that waited for the service. */
  readonly longestBacklog: number;
  /** From asking for its start until it was ready, and until no more orders waited for it than before; null: never. */
  readonly readyAfterMs: number;
  readonly caughtUpAfterMs: number | null;
  /** Everything accepted was completed in time. */
  readonly completed: boolean;
  readonly audit: Verification;
  readonly seconds: readonly Second[];
  /** Why the demonstration failed; empty where it did not. */
  readonly failures: readonly string[];
}

export function summarize(
  course: Course,
  { shape, prefix }: Pick<OutageSystem, 'shape' | 'prefix'>,
  audit: Verification,
): Summary {
  const { settings, answers, samples, seconds, stopMs, goneMs, backMs, readyMs, caughtUpMs, completedMs } = course;
  const phases = [
    phaseOf('before', answers, 0, stopMs),
    phaseOf('during', answers, stopMs, readyMs),
    phaseOf('after', answers, readyMs, Number.POSITIVE_INFINITY),
  ];
  const waiting = samples.filter(({ atMs }) => atMs >= stopMs).map((sample) => sample.waiting[settings.service]);
  const summary = {
    settings,
    shape,
    prefix: prefix ?? null,
    phases,
    goneMs: Math.round(goneMs),
    readyMs: Math.round(readyMs),
    longestBacklog: Math.max(0, ...waiting),
    readyAfterMs: Math.round(readyMs - backMs),
    caughtUpAfterMs: caughtUpMs === undefined ? null : Math.round(caughtUpMs - backMs),
    completed: completedMs !== undefined,
    audit,
    seconds,
  };
  return { ...summary, failures: failuresOf(summary, answers) };
}

/** All orders of the phases, and those of them that were answered 2xx. */
export const totalsOf = ({ phases }: Pick<Summary, 'phases'>): Pick<OutagePhase, 'orders' | 'accepted'> => ({
  orders: phases.reduce((sum, { orders }) => sum + orders, 0),
  accepted: phases.reduce((sum, { accepted }) => sum + accepted, 0),
});

/** Of the orders that were to be sent from `fromMs` until before `toMs`. */
function phaseOf(name: OutagePhase['name'], answers: readonly Answer[], fromMs: number, toMs: number): OutagePhase {
  const within = answers.filter(({ dueMs }) => dueMs >= fromMs && dueMs < toMs);
  const accepted = within.filter(isAccepted);
  return {
    name,
    orders: within.length,
    accepted: accepted.length,
    others: byStatus(within.filter((answer) => !isAccepted(answer))),
    latencyMs: latencyOf(accepted.map(latencyMsOf)) ?? null,
  };
}

function failuresOf(summary: Omit<Summary, 'failures'>, answers: readonly Answer[]): string[] {
  const { settings, caughtUpAfterMs, completed, audit } = summary;
  const { service, timeoutSeconds } = settings;
  const others = answers.filter((answer) => !isAccepted(answer));
  const reasons = Object.entries(byStatus(others)).map(([status, times]) => `${count(times)} × ${statusText(status)}`);
  return [
    ...(others.length > 0 ? [`${count(others.length)} orders were not answered 2xx: ${reasons.join(', ')}`] : []),
    ...(caughtUpAfterMs === null ? [`${service} has not caught up ${timeoutSeconds} s after it was back`] : []),
    ...(completed ? [] : [`not every order is completed ${timeoutSeconds} s after the last one was placed`]),
    ...audit.findings,
  ];
}

export const statusText = (status: string): string => (status === 'none' ? 'no answer' : status);
