// The equation of a replay: read = ordered + rejected + failed, for lines and for invoices. Each term is counted in a
// different place (the reader, the server's responses, the rejections), so a lost line keeps the equation from closing.
import type { Rejection, Rejections } from './rejections.ts';

export interface Equation {
  readonly read: number;
  readonly ordered: number;
  /** By reason, the most frequent first. */
  readonly rejected: readonly Rejection[];
  /** Without a response, by reason. Empty after a successful run. */
  readonly failed: readonly Rejection[];
  readonly closes: boolean;
}

export function equation(read: number, ordered: number, rejected: Rejections, failed: Rejections): Equation {
  const closes = read === ordered + rejected.total + failed.total;
  return { read, ordered, rejected: rejected.list(), failed: failed.list(), closes };
}
