// One round: the bare route, the system in four floods, and the bare route again, so that what else the machine does
// meets both. The system starts on fresh data each time, and what it stored is counted afterwards.
import { createSale } from '../../demos/shared/flash-sales.ts';
import { HttpClient } from '../../demos/shared/http.ts';
import { note } from '../../demos/shared/terminal.ts';
import { type Flooded, floodRoute } from '../flood.ts';
import type { Load } from '../load.ts';
import type { Durations } from '../measure.ts';
import type { Peer } from '../peer.ts';
import { type Profiles, summarizePhases } from '../profile.ts';
import { readSettings } from '../stored-totals.ts';
import { type Mode, type System, startSystem } from '../system.ts';
import { type FloodedSale, floodSale } from './flood-sale.ts';
import { ANY_SALE, CONNECTIONS, purchasesOf } from './purchases.ts';
import { full, soldOut, termsOf, unbounded, untilOrdered } from './sales.ts';
import { checkSale, type StoredSale } from './stored-sale.ts';

/** As many connections more than in the other floods. */
const OVERLOAD = 10;

export const floodPhases = ['full', 'sold out', 'overload', 'unbounded'] as const;
export type FloodPhase = (typeof floodPhases)[number];

export interface Plan extends Readonly<Record<FloodPhase, Durations>> {
  readonly route: Durations;
}

export interface Round {
  readonly mode: Mode;
  /** Before and after. */
  readonly route: readonly [Flooded, Flooded];
  readonly floods: Readonly<Record<FloodPhase, FloodedSale & StoredSale>>;
  readonly settings: Readonly<Record<string, string>>;
}

const sales: Readonly<Record<FloodPhase, typeof full>> = { full, 'sold out': soldOut, overload: full, unbounded };

export async function runRound(mode: Mode, load: Load, route: Peer, plan: Plan): Promise<Round> {
  const routeWork = purchasesOf(route.url, ANY_SALE, CONNECTIONS);
  const before = await floodRoute(load, routeWork, route, plan.route);
  const system = await startSystem(mode, { redis: true });
  try {
    const measured = await floodAll(load, system, plan);
    await system.remove();
    return { mode, route: [before, await floodRoute(load, routeWork, route, plan.route)], ...measured };
  } finally {
    await system.remove();
  }
}

/** Where the time goes in the process that decides. Profiling costs, so no rate of this round counts. */
export async function profileRound(mode: Mode, load: Load, plan: Plan, folder: string): Promise<Profiles> {
  const system = await startSystem(mode, { profileFolder: folder, redis: true });
  try {
    const { floods } = await floodAll(load, system, plan);
    const windows = Object.fromEntries(floodPhases.map((phase) => [phase, floods[phase].window]));
    return await summarizePhases(folder, [mode === 'embedded' ? 'all' : 'flash-sale'], windows);
  } finally {
    await system.remove();
  }
}

/** Also stops the services, which makes them write their profiles. */
async function floodAll(load: Load, system: System, plan: Plan): Promise<Pick<Round, 'floods' | 'settings'>> {
  const url = system.flashSaleUrl;
  const http = new HttpClient(url);
  const done: { readonly phase: FloodPhase; readonly saleId: string; readonly flooded: FloodedSale }[] = [];
  for (const phase of floodPhases) {
    note(`  ${phase} …`);
    const { id: saleId } = await createSale(http, termsOf(sales[phase]));
    const connections = phase === 'overload' ? CONNECTIONS * OVERLOAD : CONNECTIONS;
    const flooded = await floodSale(load, system, purchasesOf(url, saleId, connections), plan[phase]);
    done.push({ phase, saleId, flooded });
  }
  // What the last one has queued would take too long.
  const ordered = ({ phase }: { readonly phase: FloodPhase }) => phase !== 'unbounded';
  await untilOrdered(
    http,
    done.filter(ordered).map(({ saleId }) => saleId),
  );
  await http.close();
  return system.stopServices(async (query) => {
    const floods: Partial<Record<FloodPhase, FloodedSale & StoredSale>> = {};
    for (const each of done) {
      const { answers, time } = each.flooded;
      const stored = await checkSale(query, { saleId: each.saleId, answers, time, ordered: ordered(each) });
      floods[each.phase] = { ...each.flooded, ...stored };
    }
    return { floods: floods as Record<FloodPhase, FloodedSale & StoredSale>, settings: await readSettings(query) };
  });
}
