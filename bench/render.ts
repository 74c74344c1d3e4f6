// The report and the profiles as tables.
import { columns } from '../demos/shared/terminal.ts';
import type { BenchmarkReport, Target, Unit } from './figures.ts';
import type { Profiles } from './profile.ts';
import type { Mode } from './system.ts';

const targetText = ({ least, most }: Target) => (most === undefined ? `≥ ${least}` : `${least} – ${most}`);

/** `load`: the load under which the CPU time was measured. */
export function renderReport({ figures, checks, cpu, durability, environment }: BenchmarkReport, load: string): string {
  const show = (value: number, unit: Unit) =>
    unit === '/s' ? Math.round(value).toLocaleString('en-GB') : value.toFixed(unit === 'ratio' ? 3 : 1);
  const rows = figures.map(({ mode, phase, name, unit, median, min, max, target, met }) => [
    mode ?? '',
    phase ?? '',
    name,
    show(median, unit) + (unit === 'ratio' ? '' : ` ${unit}`),
    `${show(min, unit)} – ${show(max, unit)}`,
    target === undefined ? '' : targetText(target),
    met === undefined ? '' : met ? 'met' : 'NOT MET',
  ]);
  const percent = (shares: Readonly<Record<string, number>>) =>
    Object.entries(shares).map(([name, share]) => `${name} ${Math.round(share * 100)} %`);
  return [
    `Node ${environment.node}, ${environment.cpus} × ${environment.cpu}, rounds: ${environment.rounds}`,
    '',
    ...columns([['', '', '', 'median', 'min – max', 'target', ''], ...rows]),
    '',
    'Checks of the measurement:',
    ...columns(checks.map(({ name, value, ok }) => [name, value.toFixed(2), ok ? 'ok' : 'NOT OK'])),
    '',
    `CPU ${load}, of one core:`,
    ...columns(Object.entries(cpu).map(([mode, shares]) => [mode, percent(shares).join(', ')])),
    '',
    'Durability:',
    ...columns(
      Object.entries(durability).map(([mode, settings]) => [
        mode,
        Object.entries(settings)
          .map(([name, value]) => `${name}=${value}`)
          .join(', '),
      ]),
    ),
  ].join('\n');
}

const TOP_MODULES = 8;
const TOP_FUNCTIONS = 12;

/** The functions and modules in which each process spent its busy time in these phases. */
export function renderProfiles(mode: Mode, profiles: Profiles, phases: readonly string[]): string {
  const top = (shares: readonly { name: string; share: number }[], count: number) =>
    columns(
      shares.slice(0, count).map(({ name, share }) => [`${(share * 100).toFixed(1)} %`.padStart(6), name]),
      { indent: '    ' },
    );
  return phases
    .flatMap((phase) => Object.entries(profiles[phase] ?? {}).map(([name, summary]) => ({ phase, name, ...summary })))
    .flatMap(({ phase, name, busy, modules, functions }) => [
      '',
      `${mode}, ${phase}, process ${name}: busy ${Math.round(busy * 100)} % of the time; of that, without the functions they call,`,
      '  modules:',
      ...top(modules, TOP_MODULES),
      '  functions:',
      ...top(functions, TOP_FUNCTIONS),
    ])
    .join('\n');
}
