// Whether the orders of a sale came at the rate of its drain, by the times at which the database stored them.
import { mean } from '../shared/statistics.ts';
import { text } from '../shared/terminal.ts';

/** A second keeps the rate if its orders differ from it by this share at most, or by one order. */
const TOLERANCE = 0.1;

export type Pace = NonNullable<ReturnType<typeof paceOf>>;

/**
 * The orders in each of these seconds. `times`: of the orders, in milliseconds after the opening; second 0 begins with
 * it. Null without seconds.
 */
export function paceOf(times: readonly number[], seconds: readonly number[], perSecond: number) {
  if (seconds.length === 0) return null;
  const counts = new Map(seconds.map((second) => [second, 0]));
  for (const time of times) {
    const second = Math.floor(time / 1_000);
    const count = counts.get(second);
    if (count !== undefined) counts.set(second, count + 1);
  }
  const orders = [...counts.values()];
  const tolerance = Math.max(1, TOLERANCE * perSecond);
  return {
    perSecond,
    seconds: orders.length,
    /** Seconds within 10 % of the rate. */
    held: orders.filter((count) => Math.abs(count - perSecond) <= tolerance).length,
    min: orders.reduce((a, b) => Math.min(a, b)),
    max: orders.reduce((a, b) => Math.max(a, b)),
    mean: mean(orders),
  };
}

/** From a buyer's arrival to the acceptance of the order, in milliseconds after the opening. */
export interface Wait {
  readonly arrivedMs: number;
  readonly orderedMs: number;
}

/**
 * The whole seconds in which a buyer waited at every moment, so that the drain could have kept its rate. Without second
 * 0, in which the first buyers arrive.
 */
export function busySeconds(waits: readonly Wait[]): number[] {
  const seconds: number[] = [];
  let from = 0;
  let until = 0;
  const addWhole = () => {
    for (let second = Math.max(1, Math.ceil(from / 1_000)); (second + 1) * 1_000 <= until; second++)
      seconds.push(second);
  };
  for (const { arrivedMs, orderedMs } of waits.toSorted((a, b) => a.arrivedMs - b.arrivedMs)) {
    if (arrivedMs > until) {
      addWhole();
      from = arrivedMs;
    }
    until = Math.max(until, orderedMs);
  }
  addWhole();
  return seconds;
}

/** The pace in a sentence. */
export function paceSentence({ perSecond, seconds, held, min, max }: Pace): string {
  const range = min === max ? text`${min} orders each` : text`${min} to ${max} orders each`;
  const verdict =
    held === seconds
      ? text`The rate was held: within 10 % of ${perSecond} orders in each of ${seconds} seconds`
      : text`The rate was not held: within 10 % of ${perSecond} orders in only ${held} of ${seconds} seconds`;
  return `${verdict} (${range}; whole seconds after the first one, while buyers waited).`;
}
