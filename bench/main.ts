// `npm run bench`: how close the system comes to the limits of what it is built on. Everything is a ratio of two rates
// taken in one run, because a rate alone says more about the machine. Results go to stdout, progress to stderr.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Argument, Command } from 'commander';
import { numberBetween } from '../cli/options.ts';
import { note, print } from '../cli/terminal.ts';
import { Load } from './load.ts';
import { measureRoute } from './measure.ts';
import { startPeer } from './peer.ts';
import { renderProfiles, renderReport } from './render.ts';
import { createReport, missedPhases } from './report.ts';
import { type Phase, type Plan, type Profiles, profileRound, type Round, runRound } from './round.ts';
import type { Mode } from './system.ts';

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly short?: true;
  readonly profile?: true;
  readonly json?: string;
}

const MODES: readonly Mode[] = ['embedded', 'separate'];

const planOf = ({ rounds, seconds, short }: Options): Plan =>
  short
    ? {
        rounds: 1,
        route: { warmUp: 2, measured: 3 },
        sustained: { warmUp: 5, measured: 8 },
        amqpLoop: { warmUp: 2, measured: 4 },
        burstOrders: 2_000,
      }
    : {
        rounds,
        route: { warmUp: 3, measured: 8 },
        sustained: { warmUp: 15, measured: seconds },
        amqpLoop: { warmUp: 4, measured: 10 },
        burstOrders: 10_000,
      };

async function bench(modes: readonly Mode[], options: Options): Promise<void> {
  const plan = planOf(options);
  const load = new Load();
  const route = await startPeer('express');
  try {
    note('bare node:http …');
    const echo = await startPeer('http');
    const { perSecond } = await measureRoute(load, echo.url, plan.route);
    await echo.close();

    const rounds: Round[] = [];
    for (let round = 1; round <= plan.rounds; round++) {
      for (const mode of modes) {
        note(`round ${round} of ${plan.rounds}: ${mode} …`);
        rounds.push(await runRound(mode, load, route, plan));
      }
    }
    const report = createReport(rounds, perSecond);
    print(renderReport(report));

    // A reach that is not met is reported with where the time goes.
    const profiles: Partial<Record<Mode, Profiles>> = {};
    for (const mode of modes) {
      const phases: readonly Phase[] = options.profile ? ['sustained', 'burst'] : missedPhases(report, mode);
      if (phases.length === 0) continue;
      note(`profile: ${mode} …`);
      profiles[mode] = await profile(mode, load, plan);
      print(renderProfiles(mode, profiles[mode], phases));
    }
    if (options.json) await writeFile(options.json, `${JSON.stringify({ ...report, profiles }, null, 2)}\n`);
  } finally {
    await route.close();
    await load.close();
  }
}

async function profile(mode: Mode, load: Load, plan: Plan): Promise<Profiles> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-profile-'));
  try {
    return await profileRound(mode, load, plan, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await new Command('bench')
  .description('measures the system against a bare Express route and a bare AMQP loop, with servers of its own')
  .addArgument(new Argument('[system...]', 'embedded: one process; separate: a process per service').choices(MODES))
  .option('--rounds <count>', 'how often everything is measured; medians count', numberBetween(1, 20), 3)
  .option('--seconds <count>', 'how long the load is sustained, after a warm-up', numberBetween(5, 600), 30)
  .option('--short', 'one short round, to see that it works: its figures are not steady')
  .option('--profile', 'profile the processes even where every reach is met')
  .option('--json <file>', 'write everything measured to this file as well')
  .action((systems: Mode[], options: Options) => bench(systems.length > 0 ? systems : MODES, options))
  .parseAsync();
