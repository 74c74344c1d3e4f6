// The number and times of faults. A schedule is random and prints its seed; FAULT_SEED repeats it.
import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

/** Rounds of each fault. `.ci/run` sets 1. */
export const rounds = Number(process.env.FAULT_ROUNDS ?? 5);

export interface Schedule {
  readonly seed: number;
  /** From 0 to below 1. */
  random(): number;
  /** An integer from `min` to `max`. */
  between(min: number, max: number): number;
  /** Waits for a random time between the two, so that the fault meets the system in a random state. */
  runFor(minMs: number, maxMs: number): Promise<void>;
  shuffled<T>(items: readonly T[]): T[];
}

export function newSchedule(): Schedule {
  const seed = Number(process.env.FAULT_SEED ?? randomInt(2 ** 31));
  console.log(`FAULT_SEED=${seed} FAULT_ROUNDS=${rounds}`);
  const random = mulberry32(seed);
  const between = (min: number, max: number) => min + Math.floor(random() * (max - min + 1));
  return {
    seed,
    random,
    between,
    async runFor(minMs, maxMs) {
      await delay(between(minMs, maxMs));
    },
    shuffled(items) {
      // Fisher and Yates
      const copy = [...items];
      for (let last = copy.length - 1; last > 0; last--) {
        const other = between(0, last);
        [copy[last], copy[other]] = [copy[other] as (typeof copy)[number], copy[last] as (typeof copy)[number]];
      }
      return copy;
    },
  };
}

/** Tommy Ettinger's generator, small and good enough for schedules. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
