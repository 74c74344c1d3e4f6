// The comparison as tables.
import { median } from '../../demos/shared/statistics.ts';
import { columns, count } from '../../demos/shared/terminal.ts';
import type { compareAdmission } from './compare.ts';
import { CAP } from './gateways.ts';
import { strategies } from './strategies.ts';

type Comparison = Awaited<ReturnType<typeof compareAdmission>>;

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
    ...columns([['', 'stock', 'admitted', 'over the limit', 'longest queue', 'decisions/s'], ...burstRows]),
    '',
    'The same with a disturbance in mid-sale',
    ...columns([
      ['', 'disturbance', 'stock', 'admitted', 'longest queue', 'over the cap', 'oversold', ''],
      ...disturbedRows,
    ]),
  ].join('\n');
}
