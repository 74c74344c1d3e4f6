// One second of the scenario, for the display.
import { steps } from '../shared/metrics.ts';
import { recordOf } from '../shared/record-of.ts';
import { latencyOf } from '../shared/statistics.ts';
import { type Answer, byStatus, isAccepted, latencyMsOf } from './flow.ts';
import type { Sample } from './watch.ts';

export type Second = ReturnType<typeof secondOf>;

/**
 * `second` counts from 1; `answers` and `samples` are in the order of time. Reads only their ends, because it is called
 * every second.
 */
export function secondOf(second: number, answers: readonly Answer[], samples: readonly Sample[]) {
  const fromMs = (second - 1) * 1_000;
  const toMs = second * 1_000;
  const within = answers
    .slice(answers.findLastIndex(({ atMs }) => atMs < fromMs) + 1)
    .filter(({ atMs }) => atMs < toMs);
  const last = samples.findLast(({ atMs }) => atMs < toMs);
  const before = samples.findLast(({ atMs }) => atMs < fromMs);
  return {
    second,
    answers: byStatus(within),
    /** Of the 2xx, from the time at which their orders were due; null without any. */
    p95Ms: latencyOf(within.filter(isAccepted).map(latencyMsOf))?.p95 ?? null,
    completed: (last?.completed ?? 0) - (before?.completed ?? 0),
    /** The backlog of each service at the end of this second. */
    waiting: last?.waiting ?? recordOf(steps, () => 0),
  };
}
