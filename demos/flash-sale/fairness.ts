// Whether buyers are served in the order of their arrival.

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
    meanShift: shifts.reduce((sum, shift) => sum + shift, 0) / shifts.length,
    maxShift: shifts.reduce((max, shift) => Math.max(max, shift), 0),
  };
}

/** Places from 1; equal values get the mean of theirs. */
function ranks(values: readonly number[]): number[] {
  const sorted = values.map((value, index) => ({ value, index })).sort((a, b) => a.value - b.value);
  const places: number[] = new Array(values.length).fill(0);
  for (let from = 0; from < sorted.length; ) {
    let to = from;
    while (to < sorted.length && sorted[to]?.value === sorted[from]?.value) to++;
    const place = (from + 1 + to) / 2;
    for (const { index } of sorted.slice(from, to)) places[index] = place;
    from = to;
  }
  return places;
}

/** Pearson's correlation, which of ranks is Spearman's. 1 if all have the same place: no buyer was passed over. */
function correlation(xs: readonly number[], ys: readonly number[]): number {
  const mean = (xs.length + 1) / 2; // of places, with ties too
  let xy = 0;
  let xx = 0;
  let yy = 0;
  for (const [index, x] of xs.entries()) {
    const y = ys[index] ?? mean;
    xy += (x - mean) * (y - mean);
    xx += (x - mean) ** 2;
    yy += (y - mean) ** 2;
  }
  return xx === 0 || yy === 0 ? 1 : xy / Math.sqrt(xx * yy);
}

/** The fairness in a sentence. */
export function fairnessSentence({ rankCorrelation, meanShift, maxShift }: Fairness): string {
  const verdict =
    rankCorrelation >= 0.99
      ? 'Buyers were served in the order of their arrival'
      : rankCorrelation >= 0.9
        ? 'Buyers were mostly served in the order of their arrival'
        : 'Buyers were not always served in the order of their arrival';
  return `${verdict}: on average, an order was ${meanShift.toFixed(1)} places away from its buyer's arrival (at most ${Math.round(maxShift)}).`;
}
