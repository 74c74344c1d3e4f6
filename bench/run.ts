// Runs the benchmarks: the bare routes, the rounds in each mode, and the report. A round measures the bare route before and
// after the system, so that other work of the machine affects both.
import { join } from 'node:path';
import { forkScript } from '../demos/shared/child-process.ts';
import { writeOutput } from '../demos/shared/files.ts';
import { note, print } from '../demos/shared/terminal.ts';
import type { Baseline, NamedBenchmark } from './benchmark.ts';
import { curvesDocument } from './curve.ts';
import { createReport, type Round } from './figures.ts';
import { type Flooded, flood } from './flood.ts';
import { Load } from './load.ts';
import { renderReport } from './render.ts';
import type { RouteKind } from './route.ts';
import { type Mode, System } from './system.ts';
import { using } from './using.ts';

export interface RunOptions {
  readonly rounds: number;
  /** Only this one of the modes. */
  readonly system?: Mode | undefined;
  /** A folder for the CPU profiles of the last round. */
  readonly profile?: string | undefined;
  /** The folder for the JSON and SVG files. */
  readonly results: string;
}

const ROUTE_STARTED_WITHIN_MS = 30_000;

/** Floods a bare route as often as it is called. */
type FloodRoute = () => Promise<Flooded>;

/** Starts a bare route and hands over a function that floods it. */
const withRoute = <T>(
  { work, durations }: Baseline,
  kind: RouteKind,
  load: Load,
  use: (flood: FloodRoute) => Promise<T>,
): Promise<T> =>
  using(
    forkScript(`the bare route ${kind}`, new URL('route.ts', import.meta.url), [kind]),
    (child) => child.end(),
    async (child) => {
      const requests = work(await child.receive<string>(ROUTE_STARTED_WITHIN_MS));
      const expected = kind === 'http' ? [201] : requests.expected;
      const pids = { route: child.pid ?? 0 };
      return use(() => flood(load, { ...requests, expected }, durations, { pids }));
    },
  );

/** Prints the report of each benchmark and writes it with its curves. */
export async function runBenchmarks(benchmarks: readonly NamedBenchmark[], options: RunOptions): Promise<void> {
  await using(
    new Load(),
    (load) => load.close(),
    async (load) => {
      for (const named of benchmarks) await runBenchmark(named, load, options);
    },
  );
}

async function runBenchmark(named: NamedBenchmark, load: Load, options: RunOptions): Promise<void> {
  const { name, about, benchmark } = named;
  const modes = named.modes.filter((mode) => options.system === undefined || options.system === mode);
  if (modes.length === 0) return note(`${name}: not measured on ${options.system}`);
  note(`${name}: ${about}`);
  const { baseline } = benchmark;
  const rounds: Round[] = [];
  const measureAll = async (floodRoute?: FloodRoute) => {
    for (let round = 1; round <= options.rounds; round++)
      for (const mode of modes) {
        note(`  round ${round} of ${options.rounds}: ${mode} …`);
        rounds.push(await measureRound(named, mode, load, { ...options, floodRoute }));
      }
  };
  if (baseline) await withRoute(baseline, baseline.route, load, measureAll);
  else await measureAll();
  const bareHttp = baseline && {
    flooded: await withRoute(baseline, 'http', load, (floodHttp) => floodHttp()),
    minHeadroom: baseline.minHeadroom,
  };
  const report = { benchmark: name, about, ...createReport(rounds, bareHttp) };
  print(renderReport(report));
  print();
  await writeResults(options.results, name, report, svgOf(named, rounds));
}

export async function writeResults(folder: string, name: string, measured: object, svg: string): Promise<void> {
  await writeOutput(join(folder, `${name}.json`), `${JSON.stringify(measured, null, 2)}\n`);
  await writeOutput(join(folder, `${name}.svg`), svg);
}

async function measureRound(
  { benchmark }: NamedBenchmark,
  mode: Mode,
  load: Load,
  { profile, floodRoute }: RunOptions & { floodRoute: FloodRoute | undefined },
): Promise<Round> {
  const before = await floodRoute?.();
  const measured = await using(
    System.start(mode, { redis: benchmark.redis, profileFolder: profile }), // on fresh data each time
    (system) => system.remove(),
    (system) => benchmark.measure(load, system),
  );
  const after = await floodRoute?.();
  return { mode, route: [before, after].filter((flooded) => flooded !== undefined), measured };
}

/** The curves of each mode's last round. */
function svgOf({ name, about }: NamedBenchmark, rounds: readonly Round[]): string {
  const last = new Map(rounds.map(({ mode, measured }) => [mode, measured.curves]));
  const curves = Array.from(last, ([mode, own]) =>
    own.map((curve) => ({ ...curve, title: `${curve.title} (${mode})` })),
  );
  return curvesDocument({ title: name, subtitle: about }, curves.flat());
}
