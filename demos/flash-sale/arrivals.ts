// The times at which buyers come, drawn from a seed before the first request: the crowd does not wait for the server.

/** The settings of a simulation. */
export interface Settings {
  readonly buyers: number;
  /** Units. */
  readonly stock: number;
  /** The queue's cap. */
  readonly queue: number;
  /** Orders per second. */
  readonly drain: number;
  /** The time in which all buyers make their first visit. */
  readonly seconds: number;
  readonly seed: number;
  /** Percent of the buyers who come twice. */
  readonly repeat: number;
  /** How often the most patient buyer comes again after a full queue. */
  readonly patience: number;
  /** How long orders may take after the last buyer left, beyond the time that the queue needs at its rate. */
  readonly timeoutSeconds: number;
}

export type Plan = Readonly<ReturnType<typeof planOf>>;

const EARLY = { share: 0.02, byMs: 400 };
/** At the opening. With the beginning of the tail, about half of all come within the first tenth of the time. */
const SPIKE = { share: 0.5, meanOfTime: 1 / 20 };
const TAIL = { meanOfTime: 1 / 2 };
const GIVE_UP_AT_ONCE = 0.3;
/** The longest pause before a second visit. */
const TWICE_WITHIN_MS = 2_000;

/**
 * The visits are in the order of their arrival: the buyer's index, and the milliseconds after the opening (negative:
 * an early bird). `patience`: how often a buyer comes again after a full queue.
 */
export function planOf(settings: Pick<Settings, 'seed' | 'buyers' | 'seconds' | 'repeat' | 'patience'>) {
  const { seed, buyers: count, seconds, repeat, patience } = settings;
  const random = mulberry32(seed);
  const width = String(count).length;
  const buyers: { readonly userId: string; readonly patience: number }[] = [];
  const visits: {
    readonly buyer: number;
    readonly atMs: number;
    /** A retry after a lost response; none is planned. */
    readonly again?: boolean;
  }[] = [];
  for (let buyer = 0; buyer < count; buyer++) {
    const atMs = arrival(random, seconds * 1_000);
    // Every number is drawn for every buyer, so other settings for patience and second visits move no arrival.
    const patient = { leaves: random() < GIVE_UP_AT_ONCE, share: random() };
    const twice = { comes: random() * 100 < repeat, afterMs: random() * TWICE_WITHIN_MS };
    buyers.push({
      userId: `buyer-${seed}-${String(buyer + 1).padStart(width, '0')}`,
      patience: patient.leaves ? 0 : Math.ceil(patient.share * patience),
    });
    visits.push({ buyer, atMs });
    if (twice.comes) visits.push({ buyer, atMs: atMs + twice.afterMs });
  }
  return { buyers, visits: visits.sort((a, b) => a.atMs - b.atMs) };
}

function arrival(random: Random, withinMs: number): number {
  const kind = random();
  if (kind < EARLY.share) return -random() * EARLY.byMs;
  const { meanOfTime } = kind < EARLY.share + SPIKE.share ? SPIKE : TAIL;
  return decaying(random, meanOfTime * withinMs, withinMs);
}

/** The next number, at least 0 and below 1. */
export type Random = () => number;

/** mulberry32 by Tommy Ettinger: its state has 32 bits and begins as `seed` (0 to 2³² − 1); good enough for a crowd. */
export function mulberry32(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Exponentially distributed with this mean, truncated at `max`. */
export const decaying = (random: Random, mean: number, max: number): number =>
  -mean * Math.log1p(-random() * -Math.expm1(-max / mean));
