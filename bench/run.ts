// Runs a benchmark: the bare routes, the rounds in each mode, the report, and where the time goes where a reach is missed.
import { rm, writeFile } from 'node:fs/promises';
import { serverFolder } from '../demos/shared/folder.ts';
import { note, print } from '../demos/shared/terminal.ts';
import { type BenchmarkReport, missedPhases } from './figures.ts';
import { answeredPerSecond, floodRoute } from './flood.ts';
import { Load, type Work } from './load.ts';
import type { Durations } from './measure.ts';
import { type Peer, type PeerKind, startPeer } from './peer.ts';
import type { Profiles } from './profile.ts';
import { renderProfiles, renderReport } from './render.ts';
import type { Mode } from './system.ts';

export interface Benchmark<Round> {
  readonly rounds: number;
  readonly route: PeerKind;
  /** What is sent to the bare node:http server at `url`, and for how long. */
  readonly echo: { readonly work: (url: string) => Work; readonly durations: Durations };
  readonly phases: readonly string[];
  runRound(mode: Mode, load: Load, route: Peer): Promise<Round>;
  report(rounds: readonly Round[], echoPerSecond: number): BenchmarkReport<Round>;
  /** The load under which the report's CPU shares were measured. */
  readonly cpuDuring: string;
  profileRound(mode: Mode, load: Load, folder: string): Promise<Profiles>;
}

export interface RunOptions {
  /** Profile every phase, not only those in which a reach is missed. */
  readonly profile?: boolean | undefined;
  /** A file for everything that was measured. */
  readonly json?: string | undefined;
}

export async function runBenchmark<Round>(
  benchmark: Benchmark<Round>,
  modes: readonly Mode[],
  options: RunOptions,
): Promise<void> {
  const load = new Load();
  const route = await startPeer(benchmark.route);
  try {
    note('bare node:http …');
    const echo = await startPeer('http');
    const { work, durations } = benchmark.echo;
    const echoPerSecond = answeredPerSecond(await floodRoute(load, work(echo.url), echo, durations));
    await echo.close();

    const rounds: Round[] = [];
    for (let round = 1; round <= benchmark.rounds; round++) {
      for (const mode of modes) {
        note(`round ${round} of ${benchmark.rounds}: ${mode} …`);
        rounds.push(await benchmark.runRound(mode, load, route));
      }
    }
    const report = benchmark.report(rounds, echoPerSecond);
    print(renderReport(report, benchmark.cpuDuring));

    // A reach that is not met is reported with where the time goes.
    const profiles: Partial<Record<Mode, Profiles>> = {};
    for (const mode of modes) {
      const phases = options.profile ? benchmark.phases : missedPhases(report, mode);
      if (phases.length === 0) continue;
      note(`profile: ${mode} …`);
      profiles[mode] = await inFolder((folder) => benchmark.profileRound(mode, load, folder));
      print(renderProfiles(mode, profiles[mode], phases));
    }
    if (options.json) await writeFile(options.json, `${JSON.stringify({ ...report, profiles }, null, 2)}\n`);
  } finally {
    await route.close();
    await load.close();
  }
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await serverFolder('profile');
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
