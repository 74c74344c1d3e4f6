// The comparison as tables.
import { median } from '../../demos/shared/statistics.ts';
import { columns, count } from '../../demos/shared/terminal.ts';
import { CAP } from './gateways.ts';
import { type StrategyName, strategies } from './strategies.ts';

export interface Burst {
  readonly admitted: number;
  /** The longest queue, as the server counts it. */
  readonly queued: number;
  readonly decisionsPerSecond: number;
}

/** Several rounds with the same terms. */
export interface Bursts {
  readonly strategy: StrategyName;
  readonly stock: number;
  readonly rounds: readonly Burst[];
}

export interface Disturbed {
  readonly strategy: StrategyName;
  readonly what: string;
  readonly stock: number;
  readonly admitted: number;
  readonly longest: number;
  readonly note: string;
}

export interface Comparison {
  readonly versions: readonly string[];
  readonly buyers: number;
  readonly gateways: number;
  readonly bursts: readonly Bursts[];
  readonly disturbed: readonly Disturbed[];
}

/** One number if all rounds agree, otherwise the smallest and the largest. */
function range(values: readonly number[]): string {
  const [min, max] = [Math.min(...values), Math.max(...values)];
  return min === max ? count(min) : `${count(min)} – ${count(max)}`;
}

const overshoot = (more: number) => (more > 0 ? `+${count(more)}` : count(more));

export function renderComparison({ versions, buyers, gateways, bursts, disturbed }: Comparison): string {
  const burstRows = bursts.map(({ strategy, stock, rounds }) => {
    const admitted = rounds.map((round) => round.admitted);
    return [
      strategies[strategy].title,
      count(stock),
      range(admitted),
      overshoot(Math.max(...admitted) - Math.min(stock, CAP)),
      range(rounds.map(({ queued }) => queued)),
      count(Math.round(median(rounds.map(({ decisionsPerSecond }) => decisionsPerSecond)))),
    ];
  });
  const disturbedRows = disturbed.map(({ strategy, what, stock, admitted, longest, note }) => [
    strategies[strategy].title,
    what,
    ...[stock, admitted, longest].map(count),
    overshoot(Math.max(0, longest - CAP)),
    overshoot(Math.max(0, admitted - stock)),
    note,
  ]);
  return [
    `${versions.join(', ')}, Node.js ${process.versions.node}`,
    '',
    `Bursts of ${count(buyers)} buyers from ${gateways} processes, all at once, into an empty queue with a cap of ${CAP} that no buyer leaves`,
    ...columns([['', 'stock', 'admitted', 'over', 'longest queue', 'decisions/s'], ...burstRows]),
    '',
    'The same with a disturbance in mid-sale',
    ...columns([['', 'disturbance', 'stock', 'admitted', 'longest queue', 'over', 'oversold', ''], ...disturbedRows]),
  ].join('\n');
}
