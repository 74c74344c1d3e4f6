// The experiment's result as tables for people.
import { median } from '../../demos/shared/statistics.ts';
import { columns, count } from '../../demos/shared/terminal.ts';
import type { BurstResult } from './bursts.ts';
import type { Disturbed } from './disturbances.ts';
import { titles, type WayName } from './ways.ts';

/** Several rounds with the same sale. */
export interface Rounds {
  readonly way: WayName;
  readonly stock: number;
  readonly cap: number;
  readonly rounds: readonly BurstResult[];
}

export interface Result {
  readonly versions: readonly string[];
  readonly buyers: number;
  readonly gateways: number;
  readonly bursts: readonly Rounds[];
  readonly disturbed: readonly Disturbed[];
}

/** One number where all rounds agree, otherwise the smallest and the largest. */
function range(values: readonly number[]): string {
  const [min, max] = [Math.min(...values), Math.max(...values)];
  return min === max ? count(min) : `${count(min)} – ${count(max)}`;
}

const overshoot = (more: number) => (more > 0 ? `+${count(more)}` : count(more));

export function renderResult({ versions, buyers, gateways, bursts, disturbed }: Result): string {
  const burstRows = bursts.map(({ way, stock, cap, rounds }) => {
    const admitted = rounds.map((round) => round.admitted);
    return [
      titles[way],
      count(stock),
      count(cap),
      range(admitted),
      overshoot(Math.max(...admitted) - Math.min(stock, cap)),
      range(rounds.map(({ queued }) => queued)),
      count(Math.round(median(rounds.map(({ decisionsPerSecond }) => decisionsPerSecond)))),
    ];
  });
  const disturbedRows = disturbed.map(({ way, what, stock, cap, admitted, longest, note }) => [
    titles[way],
    what,
    count(stock),
    count(cap),
    count(admitted),
    count(longest),
    overshoot(Math.max(0, longest - cap)),
    overshoot(Math.max(0, admitted - stock)),
    note,
  ]);
  return [
    `${versions.join(', ')}, Node.js ${process.versions.node}`,
    '',
    `Bursts of ${count(buyers)} buyers from ${gateways} processes, all at once, into an empty queue that nobody leaves`,
    ...columns([['', 'stock', 'cap', 'admitted', 'over', 'longest queue', 'decisions/s'], ...burstRows]),
    '',
    'The same with a disturbance in mid-sale',
    ...columns([
      ['', 'disturbance', 'stock', 'cap', 'admitted', 'longest queue', 'over', 'oversold', ''],
      ...disturbedRows,
    ]),
  ].join('\n');
}
