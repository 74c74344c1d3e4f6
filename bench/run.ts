// Runs a benchmark: the bare routes, the rounds in each mode, the report, and profiles of phases that miss a target. A
// round measures the bare route before and after the system, so that other work of the machine affects both.
import { rm, writeFile } from 'node:fs/promises';
import { serverFolder } from '../demos/shared/folder.ts';
import { note, print } from '../demos/shared/terminal.ts';
import { type Route, type RouteKind, startRoute } from './child-processes.ts';
import { createReport, missedPhases, type ReportSpec, type Round } from './figures.ts';
import { type Durations, type Flooded, flood } from './flood.ts';
import { Load, type Work } from './load.ts';
import { type Profiles, summarizePhases } from './profile.ts';
import { renderProfiles, renderReport } from './render.ts';
import { type Mode, type System, startSystem } from './system.ts';

export interface Benchmark<Measured> extends ReportSpec<Measured> {
  readonly rounds: number;
  readonly route: RouteKind;
  readonly routeWork: (url: string) => Work;
  readonly routeDurations: Durations;
  readonly phases: readonly string[];
  /** Processes whose profiles matter. */
  readonly profiled: (mode: Mode) => readonly string[];
  /** Whether Redis paces the flash sales' queues. */
  readonly redis: boolean;
  /** Measures all phases on a fresh system and stops its services, which makes them write their profiles. */
  readonly measure: (load: Load, system: System) => Promise<Measured>;
}

export interface RunOptions {
  /** Profile every phase, not only those that miss a target. */
  readonly profile?: boolean | undefined;
  /** A file for everything that was measured. */
  readonly json?: string | undefined;
}

export async function runBenchmark<Measured>(
  benchmark: Benchmark<Measured>,
  modes: readonly Mode[],
  options: RunOptions,
): Promise<void> {
  const load = new Load();
  const floodRoute = ({ url, pid }: Route, expected = benchmark.routeWork(url).expected): Promise<Flooded> =>
    flood(load, {
      work: { ...benchmark.routeWork(url), expected },
      pids: { route: pid },
      durations: benchmark.routeDurations,
    });
  const route = await startRoute(benchmark.route);
  try {
    note('bare node:http …');
    const http = await startRoute('http');
    const echo = await floodRoute(http, [201]);
    await http.close();

    const rounds: Round<Measured>[] = [];
    for (let round = 1; round <= benchmark.rounds; round++) {
      for (const mode of modes) {
        note(`round ${round} of ${benchmark.rounds}: ${mode} …`);
        const before = await floodRoute(route);
        const measured = await measureSystem(benchmark, load, mode);
        rounds.push({ mode, route: [before, await floodRoute(route)], ...measured });
      }
    }
    const report = createReport(benchmark, rounds, echo);
    print(renderReport(report, benchmark.cpuDuring));

    const profiles: Partial<Record<Mode, Profiles>> = {};
    for (const mode of modes) {
      const phases = options.profile ? benchmark.phases : missedPhases(report, mode);
      if (phases.length === 0) continue;
      note(`profile: ${mode} …`);
      profiles[mode] = await profileSystem(benchmark, load, mode);
      print(renderProfiles(mode, profiles[mode], phases));
    }
    if (options.json) await writeFile(options.json, `${JSON.stringify({ ...report, profiles }, null, 2)}\n`);
  } finally {
    await route.close();
    await load.close();
  }
}

/** On fresh data each time. */
async function measureSystem<Measured>(
  { measure, redis }: Benchmark<Measured>,
  load: Load,
  mode: Mode,
  profileFolder?: string,
): Promise<Measured> {
  const system = await startSystem(mode, { redis, profileFolder });
  try {
    return await measure(load, system);
  } finally {
    await system.remove();
  }
}

/** Where each process spends its time. Profiling has a cost, so no rate of this round counts. */
async function profileSystem<Measured>(benchmark: Benchmark<Measured>, load: Load, mode: Mode): Promise<Profiles> {
  const folder = await serverFolder('profile');
  try {
    const measured = await measureSystem(benchmark, load, mode, folder);
    const windows = benchmark.phases.map((phase) => [phase, benchmark.windowOf(measured, phase)] as const);
    return await summarizePhases(folder, benchmark.profiled(mode), Object.fromEntries(windows));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
