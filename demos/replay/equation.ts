// The account of a replay: what was read must be what was ordered and what was rejected, for lines and for invoices. The
// three are counted in different places (the reader, the server's answers, the rejections), so that it can fail to close.
import type { Rejection, Rejections } from './rejections.ts';

export interface Equation {
  readonly read: number;
  readonly ordered: number;
  /** By reason, the most frequent first. */
  readonly rejected: readonly Rejection[];
  /** What nobody answered for, by reason. Empty in a run that did what it says. */
  readonly failed: readonly Rejection[];
  readonly closes: boolean;
}

export function equation(read: number, ordered: number, rejected: Rejections, failed: Rejections): Equation {
  const closes = read === ordered + rejected.total + failed.total;
  return { read, ordered, rejected: rejected.list(), failed: failed.list(), closes };
}

export const sumOf = (rejections: readonly Rejection[]): number =>
  rejections.reduce((sum, { count }) => sum + count, 0);
