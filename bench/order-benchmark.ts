// How many orders the system completes and accepts, against a bare route that echoes them.
import { ordersTo } from './load.ts';
import { createReport } from './report.ts';
import { orderPhases, type Plan, profileRound, type Round, runRound } from './round.ts';
import type { Benchmark } from './run.ts';

/** `seconds`: how long the load is sustained. `short`: one short round. */
export function orderBenchmark(options: { rounds: number; seconds: number; short: boolean }): Benchmark<Round> {
  const plan: Plan = options.short
    ? {
        route: { warmUp: 2, measured: 3 },
        sustained: { warmUp: 5, measured: 8 },
        amqpLoop: { warmUp: 2, measured: 4 },
        burstOrders: 2_000,
      }
    : {
        route: { warmUp: 3, measured: 8 },
        sustained: { warmUp: 15, measured: options.seconds },
        amqpLoop: { warmUp: 4, measured: 10 },
        burstOrders: 10_000,
      };
  return {
    rounds: options.short ? 1 : options.rounds,
    route: 'order',
    echo: { work: ordersTo, durations: plan.route },
    phases: orderPhases,
    runRound: (mode, load, route) => runRound(mode, load, route, plan),
    report: createReport,
    cpuDuring: 'while the load is sustained',
    profileRound: (mode, load, folder) => profileRound(mode, load, plan, folder),
  };
}
