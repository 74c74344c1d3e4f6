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
