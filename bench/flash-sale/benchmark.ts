// How many purchases a flash sale decides about in a flood, against a bare route that rejects them.
import type { Benchmark } from '../run.ts';
import { toEcho } from './purchases.ts';
import { createReport } from './report.ts';
import { floodPhases, type Plan, profileRound, type Round, runRound } from './round.ts';

/** `seconds`: how long the flood of a full queue is measured. `short`: one short round. */
export function flashSaleBenchmark(options: { rounds: number; seconds: number; short: boolean }): Benchmark<Round> {
  const plan: Plan = options.short
    ? {
        route: { warmUp: 1, measured: 2 },
        full: { warmUp: 2, measured: 5 },
        'sold out': { warmUp: 1, measured: 2 },
        overload: { warmUp: 2, measured: 3 },
        unbounded: { warmUp: 1, measured: 3 },
      }
    : {
        route: { warmUp: 1.5, measured: 3 },
        full: { warmUp: 3, measured: options.seconds },
        'sold out': { warmUp: 1, measured: 4 },
        overload: { warmUp: 2, measured: 5 },
        unbounded: { warmUp: 1, measured: 5 },
      };
  return {
    rounds: options.short ? 1 : options.rounds,
    route: 'flash-sale',
    echo: { work: toEcho, durations: plan.route },
    phases: floodPhases,
    runRound: (mode, load, route) => runRound(mode, load, route, plan),
    report: createReport,
    cpuDuring: 'while the queue is full',
    profileRound: (mode, load, folder) => profileRound(mode, load, plan, folder),
  };
}
