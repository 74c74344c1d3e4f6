// Random numbers: the same for the same seed, on every machine.

/** The next number, at least 0 and below 1. */
export type Random = () => number;

/** mulberry32 by Tommy Ettinger: 32 bits of state, which `seed` (0 to 2³² − 1) is; good enough for a crowd. */
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
