// The account of a replay: what was read must be what was ordered and what was refused, for lines and for invoices. The
// three are counted in different places (the reader, the server's answers, the refusals), so that it can fail to close.
import type { Refusal, Refusals } from './refusals.ts';

export interface Equation {
  readonly read: number;
  readonly ordered: number;
  /** By reason, the most frequent first. */
  readonly refused: readonly Refusal[];
  /** What nobody answered for, by reason. Empty in a run that did what it says. */
  readonly failed: readonly Refusal[];
  readonly closes: boolean;
}

export function equation(read: number, ordered: number, refused: Refusals, failed: Refusals): Equation {
  const closes = read === ordered + refused.total + failed.total;
  return { read, ordered, refused: refused.list(), failed: failed.list(), closes };
}

export const sumOf = (refusals: readonly Refusal[]): number => refusals.reduce((sum, { count }) => sum + count, 0);

/** Milliseconds; nearest-rank percentiles, so each is a value that was measured. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Undefined for no values. */
export function latencyOf(values: readonly number[]): Latency | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const rank = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  return sorted.length === 0 ? undefined : { p50: rank(0.5), p99: rank(0.99), max: rank(1) };
}
