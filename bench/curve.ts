// The curves of a benchmark: values that are read every second, drawn as one SVG document.
import { setTimeout as delay } from 'node:timers/promises';
import { type Panel, panelsDocument } from '../demos/shared/time-chart.ts';

export interface Curve {
  readonly title: string;
  /** One for each second of the measurement. */
  readonly values: readonly number[];
  /** A level to compare with. */
  readonly limit?: { readonly name: string; readonly value: number };
}

/** One panel below the other, on one axis in seconds. */
export function curvesDocument(head: { title: string; subtitle: string }, curves: readonly Curve[]): string {
  const panels = curves.map(({ title, values, limit }, index): Panel => {
    const rounded = values.map(Math.round);
    return {
      id: `curve-${index}`,
      title,
      description: `${title}: from ${Math.min(...rounded)} to ${Math.max(...rounded)}.`,
      stacks: [{ name: 'each second', color: 'blue', values }],
      ...(limit && { limit }),
    };
  });
  const seconds = Math.max(1, ...curves.map(({ values }) => values.length));
  return panelsDocument(head, panels, { fromMs: 0, toMs: seconds * 1_000, stepMs: 1_000 });
}

/** Counts and levels at one moment, by name. */
export interface Moment {
  /** By performance.now(). */
  readonly at: number;
  readonly values: Readonly<Record<string, number>>;
}

/** Reads at once and then every second, until `seconds` have passed or the last reading says `done`. */
export async function readEverySecond(
  read: () => Promise<Moment['values']>,
  { seconds, done = () => false }: { seconds: number; done?: (last: Moment['values']) => boolean },
): Promise<Moment[]> {
  const moments: Moment[] = [];
  const startedAt = performance.now();
  for (let second = 0; second <= seconds; second++) {
    await delay(Math.max(0, startedAt + second * 1_000 - performance.now()));
    const before = performance.now();
    const values = await read();
    moments.push({ at: (before + performance.now()) / 2, values });
    if (done(values)) break;
  }
  return moments;
}

/** The growth of a count per second, from each reading to the next. */
export const ratesOf = (moments: readonly Moment[], name: string): number[] =>
  moments.slice(1).map((moment, index) => rateBetween(moments[index] ?? moment, moment, name));

export const rateBetween = (from: Moment, to: Moment, name: string): number =>
  ((to.values[name] ?? Number.NaN) - (from.values[name] ?? Number.NaN)) / ((to.at - from.at) / 1_000);

export const levelsOf = (moments: readonly Moment[], name: string): number[] =>
  moments.map(({ values }) => values[name] ?? 0);
