// One second of the course, as it is shown.
import type { PerService } from '../shared/metrics.ts';
import { latencyOf } from '../shared/statistics.ts';
import { type Answer, byStatus, isAccepted, latencyMsOf } from './flow.ts';
import type { Sample } from './watch.ts';

export interface Second {
  /** The first one is 1. */
  readonly second: number;
  /** Answers that came in it, by status; `none`: requests that were given up without one. */
  readonly answers: Readonly<Record<string, number>>;
  /** Of these answers, from when their orders were to be sent; null where none came. */
  readonly p95Ms: number | null;
  /** Orders that were completed in it. */
  readonly completed: number;
  /** Orders that waited for each service at its end. */
  readonly waiting: PerService;
}

const NOTHING: PerService = { points: 0, coupon: 0, notify: 0 };

/** `answers` and `samples` in the order of time. Only their ends are looked at: this is called every second. */
export function secondOf(second: number, answers: readonly Answer[], samples: readonly Sample[]): Second {
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
    p95Ms: latencyOf(within.filter(isAccepted).map(latencyMsOf))?.p95 ?? null,
    completed: (last?.completed ?? 0) - (before?.completed ?? 0),
    waiting: last?.waiting ?? NOTHING,
  };
}
