// One round: the bare route, the system, and the bare route again, so that what else the machine does meets both. The
// system starts on fresh data each time, and what it stored is counted afterwards.

import { answeredPerSecond, floodRoute } from './flood.ts';
import { type Load, ordersTo } from './load.ts';
import { type Burst, type Durations, measureBurst, measureSustained, type Sustained } from './measure.ts';
import { measureAmqpLoop, type Peer } from './peer.ts';
import { type Profiles, summarizePhases } from './profile.ts';
import { assertComplete, readTotals, type StoredTotals } from './stored-totals.ts';
import { type Mode, startSystem } from './system.ts';

export interface Plan {
  readonly route: Durations;
  readonly sustained: Durations;
  readonly amqpLoop: Durations;
  readonly burstOrders: number;
}

export interface Round {
  readonly mode: Mode;
  /** Orders per second that the bare route answered, before and after. */
  readonly route: readonly [number, number];
  readonly sustained: Sustained;
  readonly burst: Burst;
  /** Orders per second of the bare AMQP loop, on the same broker. */
  readonly amqpLoop?: number;
  readonly stored: StoredTotals;
  /** The most that the load generator used of one CPU. */
  readonly generatorCpu: number;
}

export async function runRound(mode: Mode, load: Load, route: Peer, plan: Plan): Promise<Round> {
  const before = await floodRoute(load, ordersTo(route.url), route, plan.route);
  const system = await startSystem(mode);
  try {
    const sustained = await measureSustained(load, system, plan.sustained);
    const burst = await measureBurst(load, system, plan.burstOrders);
    const stored = await system.stopServices(readTotals);
    assertComplete(stored, sustained.accepted + burst.orders);
    const { warmUp, measured } = plan.amqpLoop;
    const amqpLoop = system.amqpUrl && (await measureAmqpLoop(system.amqpUrl, warmUp, measured));
    await system.remove();

    const after = await floodRoute(load, ordersTo(route.url), route, plan.route);
    return {
      mode,
      route: [answeredPerSecond(before), answeredPerSecond(after)],
      sustained,
      burst,
      ...(amqpLoop ? { amqpLoop } : {}),
      stored,
      generatorCpu: Math.max(...[before, after, sustained, burst].map(({ generatorCpu }) => generatorCpu)),
    };
  } finally {
    await system.remove();
  }
}

/** What is profiled, and what a reach is about. */
export const orderPhases = ['sustained', 'burst'] as const;
export type OrderPhase = (typeof orderPhases)[number];

/** Where the time goes in each process of the system. Profiling costs, so no rate of this round counts. */
export async function profileRound(mode: Mode, load: Load, plan: Plan, folder: string): Promise<Profiles> {
  const system = await startSystem(mode, { profileFolder: folder });
  try {
    const sustained = await measureSustained(load, system, plan.sustained);
    const burst = await measureBurst(load, system, plan.burstOrders);
    await system.stopServices(readTotals); // which makes the processes write their profiles
    const names = Object.keys(system.urls);
    return await summarizePhases(folder, names, { sustained: sustained.window, burst: burst.window });
  } finally {
    await system.remove();
  }
}
