// Runs a benchmark: the bare routes, the rounds in each mode, the report, and profiles of phases that miss a target. A
// round measures the bare route before and after the system, so that other work of the machine affects both.
import { rm } from 'node:fs/promises';
import { forkScript } from '../demos/shared/child-process.ts';
import { writeOutput } from '../demos/shared/files.ts';
import { serverFolder } from '../demos/shared/folder.ts';
import { note, print } from '../demos/shared/terminal.ts';
import { createReport, type Measured, missedPhases, type Round } from './figures.ts';
import { type Durations, type Flooded, flood } from './flood.ts';
import { Load, type Work } from './load.ts';
import { type Profiles, summarizePhases } from './profile.ts';
import { renderProfiles, renderReport } from './render.ts';
import type { RouteKind } from './route.ts';
import { type Mode, type System, startSystem } from './system.ts';
import { using } from './using.ts';

export interface Benchmark {
  readonly route: RouteKind;
  readonly routeWork: (url: string) => Work;
  readonly routeDurations: Durations;
  /** The load generator must be able to send this many times faster than the bare route responds. */
  readonly minHeadroom: number;
  readonly phases: readonly string[];
  /** Processes whose profiles matter. */
  readonly profiled: (mode: Mode) => readonly string[];
  /** Whether Redis paces the flash sales' queues. */
  readonly redis: boolean;
  /** Measures all phases on a fresh system and stops its services, which makes them write their profiles. */
  readonly measure: (load: Load, system: System) => Promise<Measured>;
  /** The main load, in words. */
  readonly cpuDuring: string;
}

export interface RunOptions {
  readonly rounds: number;
  /** Profile every phase, not only those that miss a target. */
  readonly profile?: boolean | undefined;
  /** A file for everything that was measured. */
  readonly json?: string | undefined;
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
      const pids = { route: child.pid ?? 0 };
      return work(() => flood(load, { ...requests, expected }, routeDurations, { pids }));
    },
  );

export const runBenchmark = (benchmark: Benchmark, modes: readonly Mode[], options: RunOptions): Promise<void> =>
  using(
    new Load(),
    (load) => load.close(),
    async (load) => {
      note('bare node:http …');
      const echo = await withRoute(benchmark, 'http', load, (floodHttp) => floodHttp());
      const rounds = await measureRounds(benchmark, modes, options.rounds, load);
      const report = createReport(rounds, echo, benchmark.minHeadroom);
      print(renderReport(report, benchmark.cpuDuring));

      const profiles: Partial<Record<Mode, Profiles>> = {};
      for (const mode of modes) {
        const phases = options.profile ? benchmark.phases : missedPhases(report, mode);
        if (phases.length === 0) continue;
        note(`profile: ${mode} …`);
        profiles[mode] = await profileSystem(benchmark, load, mode);
        print(renderProfiles(mode, profiles[mode], phases));
      }
      await writeJson(options.json, { ...report, profiles });
    },
  );

export async function writeJson(file: string | undefined, value: object): Promise<void> {
  if (file) await writeOutput(file, `${JSON.stringify(value, null, 2)}\n`);
}

const measureRounds = (benchmark: Benchmark, modes: readonly Mode[], rounds: number, load: Load): Promise<Round[]> =>
  withRoute(benchmark, benchmark.route, load, async (floodRoute) => {
    const measurements: Round[] = [];
    for (let round = 1; round <= rounds; round++)
      for (const mode of modes) {
        note(`round ${round} of ${rounds}: ${mode} …`);
        const before = await floodRoute();
        const measured = await measureSystem(benchmark, load, mode);
        measurements.push({ mode, route: [before, await floodRoute()], measured });
      }
    return measurements;
  });

/** On fresh data each time. */
const measureSystem = ({ measure, redis }: Benchmark, load: Load, mode: Mode, profileFolder?: string) =>
  using(
    startSystem(mode, redis, profileFolder),
    (system) => system.remove(),
    (system) => measure(load, system),
  );

/** Where each process spends its time. Profiling has a cost, so no rate of this round counts. */
async function profileSystem(benchmark: Benchmark, load: Load, mode: Mode): Promise<Profiles> {
  const folder = await serverFolder('profile');
  try {
    const { windows } = await measureSystem(benchmark, load, mode, folder);
    return await summarizePhases(folder, benchmark.profiled(mode), windows);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
