// The report as tables.
import { columns } from '../demos/shared/terminal.ts';
import type { BenchmarkReport, Target, Unit } from './figures.ts';

const targetText = ({ least, most }: Target) =>
  most === undefined ? `≥ ${least}` : least === undefined ? `≤ ${round(most)}` : `${least} – ${most}`;

/** A limit that was computed has many digits. */
const round = (value: number) => Math.round(value * 100) / 100;

const show = (value: number, unit: Unit) =>
  unit === '/s' ? Math.round(value).toLocaleString('en-GB') : value.toFixed(unit === 'ratio' ? 3 : 1);

/** A row for each mode, which lists its values. */
const perMode = <T>(byMode: Readonly<Record<string, Readonly<Record<string, T>>>>, text: (value: T) => string) =>
  columns(
    Object.entries(byMode).map(([mode, values]) => [
      mode,
      Object.entries(values)
        .map(([name, value]) => `${name} ${text(value)}`)
        .join(', '),
    ]),
  );

export function renderReport({ figures, checks, cpu, durability, environment }: BenchmarkReport): string {
  const rows = figures.map(({ mode, phase, name, unit, median, min, max, target, met }) => [
    mode ?? '',
    phase ?? '',
    name,
    show(median, unit) + (unit === 'ratio' ? '' : ` ${unit}`),
    `${show(min, unit)} – ${show(max, unit)}`,
    target === undefined ? '' : targetText(target),
    met === undefined ? '' : met ? 'met' : 'NOT MET',
  ]);
  return [
    `Node ${environment.node}, ${environment.cpus} × ${environment.cpu}, rounds: ${environment.rounds}`,
    '',
    ...columns([['', '', '', 'median', 'min – max', 'target', ''], ...rows]),
    '',
    'Checks of the measurement:',
    ...columns(checks.map(({ name, value, ok }) => [name, value.toFixed(2), ok ? 'ok' : 'NOT OK'])),
    ...(Object.values(cpu).some((shares) => Object.keys(shares).length > 0)
      ? ['', 'CPU in the first phase, of one core:', ...perMode(cpu, (share) => `${Math.round(share * 100)} %`)]
      : []),
    '',
    'Durability:',
    ...perMode(durability, String),
  ].join('\n');
}
