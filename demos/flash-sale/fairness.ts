// Whether buyers are served in the order of their arrival.
import { mean } from '../shared/statistics.ts';

export type Fairness = NonNullable<ReturnType<typeof fairnessOf>>;

/** `arrivedAt` and `servedAt` of each buyer, on any scale; equal times share a place. Null for fewer than two. */
export function fairnessOf(buyers: readonly { readonly arrivedAt: number; readonly servedAt: number }[]) {
  if (buyers.length < 2) return null;
  const arrived = ranks(buyers.map(({ arrivedAt }) => arrivedAt));
  const served = ranks(buyers.map(({ servedAt }) => servedAt));
  const shifts = arrived.map((rank, index) => Math.abs(rank - (served[index] ?? 0)));
  return {
    orders: buyers.length,
    /** Spearman's: 1 is the same order, 0 is none, −1 is the reverse. */
    rankCorrelation: correlation(arrived, served),
    /** The distance between a buyer's places by arrival and by order, on average and at most. */
    meanShift: mean(shifts),
    maxShift: shifts.reduce((max, shift) => Math.max(max, shift), 0),
  };
}

/** Places from 1; equal values get the mean of their first and last place. */
function ranks(values: readonly number[]): number[] {
  const places = values.toSorted((a, b) => a - b).map((value, index) => [value, index + 1] as const);
  // A Map keeps the last entry of a key: of equal values the last place or, reversed, the first.
  const last = new Map(places);
  const first = new Map(places.toReversed());
  return values.map((value) => ((first.get(value) ?? 0) + (last.get(value) ?? 0)) / 2);
}

/** Pearson's correlation, which of ranks is Spearman's. 1 if all have the same place: no buyer was passed over. */
function correlation(xs: readonly number[], ys: readonly number[]): number {
  const middle = (xs.length + 1) / 2; // the mean of places, with ties too
  const covariance = (as: readonly number[], bs: readonly number[]) =>
    as.reduce((sum, a, index) => sum + (a - middle) * ((bs[index] ?? middle) - middle), 0);
  const spread = Math.sqrt(covariance(xs, xs) * covariance(ys, ys));
  return spread === 0 ? 1 : covariance(xs, ys) / spread;
}

/** The fairness in a sentence. */
export function fairnessSentence({ rankCorrelation, meanShift, maxShift }: Fairness): string {
  const how = rankCorrelation >= 0.99 ? '' : rankCorrelation >= 0.9 ? 'mostly ' : 'not always ';
  return `Buyers were ${how}served in the order of their arrival: on average, an order was ${meanShift.toFixed(1)} places away from its buyer's arrival (at most ${Math.round(maxShift)}).`;
}
