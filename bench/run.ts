// Runs a benchmark: the bare routes, the rounds in each mode, and the report. A round measures the bare route before
// and after the system, so that other work of the machine affects both.
import { forkScript } from '../demos/shared/child-process.ts';
import { writeOutput } from '../demos/shared/files.ts';
import { note, print } from '../demos/shared/terminal.ts';
import { createReport, type Measured, type Round } from './figures.ts';
import { type Durations, type Flooded, flood } from './flood.ts';
import { Load, type Work } from './load.ts';
import { renderReport } from './render.ts';
import type { RouteKind } from './route.ts';
import { type Mode, type System, startSystem } from './system.ts';
import { using } from './using.ts';

export interface Benchmark {
  readonly route: RouteKind;
  readonly routeWork: (url: string) => Work;
  readonly routeDurations: Durations;
  /** The load generator must be able to send this many times faster than the bare route responds. */
  readonly minHeadroom: number;
  /** Whether Redis paces the flash sales' queues. */
  readonly redis: boolean;
  /** Measures all phases on a fresh system and stops its services. */
  readonly measure: (load: Load, system: System) => Promise<Measured>;
}

const ROUTE_STARTED_WITHIN_MS = 30_000;

/** Starts a bare route and hands over a function that floods it. */
const withRoute = <T>(
  { routeWork, routeDurations }: Benchmark,
  kind: RouteKind,
  load: Load,
  work: (flood: () => Promise<Flooded>) => Promise<T>,
): Promise<T> =>
  using(
    forkScript(`the bare route ${kind}`, new URL('route.ts', import.meta.url), [kind]),
    (child) => child.end(),
    async (child) => {
      const requests = routeWork(await child.receive<string>(ROUTE_STARTED_WITHIN_MS));
      const expected = kind === 'http' ? [201] : requests.expected;
      return work(() => flood(load, { ...requests, expected }, routeDurations));
    },
  );

/** `profile`: a folder for the CPU profiles of the last round. `json`: a file for everything that was measured. */
export const runBenchmark = (
  benchmark: Benchmark,
  modes: readonly Mode[],
  options: { rounds: number; profile?: string | undefined; json?: string | undefined },
): Promise<void> =>
  using(
    new Load(),
    (load) => load.close(),
    async (load) => {
      note('bare node:http …');
      const echo = await withRoute(benchmark, 'http', load, (floodHttp) => floodHttp());
      const rounds: Round[] = [];
      await withRoute(benchmark, benchmark.route, load, async (floodRoute) => {
        for (let round = 1; round <= options.rounds; round++)
          for (const mode of modes) {
            note(`round ${round} of ${options.rounds}: ${mode} …`);
            const before = await floodRoute();
            const measured = await using(
              startSystem(mode, benchmark.redis, options.profile), // on fresh data each time
              (system) => system.remove(),
              (system) => benchmark.measure(load, system),
            );
            rounds.push({ mode, route: [before, await floodRoute()], measured });
          }
      });
      const report = createReport(rounds, echo, benchmark.minHeadroom);
      print(renderReport(report));
      await writeJson(options.json, report);
    },
  );

export async function writeJson(file: string | undefined, value: object): Promise<void> {
  if (file) await writeOutput(file, `${JSON.stringify(value, null, 2)}\n`);
}
