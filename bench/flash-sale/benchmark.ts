// The benchmark of the flash sale: how many purchases it decides in a flood, against a bare route that rejects them.
import { setTimeout as delay } from 'node:timers/promises';
import { createSale, readSale } from '../../demos/shared/flash-sales.ts';
import { HttpClient } from '../../demos/shared/http.ts';
import { samplesOf, totalOf } from '../../demos/shared/metrics.ts';
import { note } from '../../demos/shared/terminal.ts';
import { type Durations, flood } from '../flood.ts';
import type { Load } from '../load.ts';
import { metricsOf } from '../meter.ts';
import type { Benchmark } from '../run.ts';
import { readSettings } from '../stored-totals.ts';
import type { System } from '../system.ts';
import { CONNECTIONS, PACE, purchasesOf } from './purchases.ts';
import { decidingProcess, type FloodedSale, type FloodedSales, type FloodPhase, phases, reportSpec } from './report.ts';
import { checkSale, type StoredSale } from './stored-sale.ts';

const SETTLED_WITHIN_MS = 60_000;
const POLL_MS = 200;

const PLENTY = 1_000_000_000;
/** Its queue is full as long as the flood lasts, and drains all the time. */
const fullSale = { stock: PLENTY, queueCap: 200, connections: CONNECTIONS };
const sales = {
  full: fullSale,
  'sold out': { ...fullSale, stock: 50 },
  overload: { ...fullSale, connections: CONNECTIONS * 10 },
  /** Room for everyone: the queue is longer than any flood. */
  unbounded: { ...fullSale, queueCap: 1_000_000 },
};

type Plan = Readonly<Record<FloodPhase | 'route', Durations>>;

/** `seconds`: how long the flood of a full queue is measured. `short`: one short round. */
export function flashSaleBenchmark(options: {
  rounds: number;
  seconds: number;
  short: boolean;
}): Benchmark<FloodedSales> {
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
    ...reportSpec,
    rounds: options.short ? 1 : options.rounds,
    route: 'flash-sale',
    routeWork: purchasesOf,
    routeDurations: plan.route,
    redis: true,
    phases,
    profiled: (mode) => [decidingProcess(mode)],
    measure: (load, system) => floodSales(load, system, plan),
    windowOf: ({ floods }, phase) => floods[phase as FloodPhase].window,
  };
}

async function floodSales(load: Load, system: System, plan: Plan): Promise<FloodedSales> {
  const http = new HttpClient(system.flashSaleUrl);
  const done: { readonly phase: FloodPhase; readonly saleId: string; readonly flooded: FloodedSale }[] = [];
  try {
    for (const phase of phases) {
      note(`  ${phase} …`);
      const { stock, queueCap, connections } = sales[phase];
      const { id: saleId } = await createSale(http, {
        ...{ sku: 'SKU-1', name: 'White hanging heart T-light holder', unitPrice: 100, currency: 'GBP' },
        ...{ stock, queueCap, drainPerSecond: PACE },
      });
      const work = purchasesOf(system.flashSaleUrl, saleId, connections);
      done.push({ phase, saleId, flooded: await floodSale(load, system, { work, durations: plan[phase] }) });
    }
    // Draining the unbounded queue would take too long.
    for (const { phase, saleId } of done) if (phase !== 'unbounded') await untilOrdered(http, saleId);
  } finally {
    await http.close();
  }
  return system.stopServices(async (query) => {
    const floods: [FloodPhase, FloodedSale & StoredSale][] = [];
    for (const { phase, saleId, flooded } of done) {
      const { responses, time } = flooded;
      const stored = await checkSale(query, { saleId, responses, time, ordered: phase !== 'unbounded' });
      floods.push([phase, { ...flooded, ...stored }]);
    }
    return { floods: Object.fromEntries(floods) as FloodedSales['floods'], settings: await readSettings(query) };
  });
}

async function floodSale(
  load: Load,
  { pids, flashSaleUrl }: System,
  options: { work: ReturnType<typeof purchasesOf>; durations: Durations },
): Promise<FloodedSale> {
  const looks: { at: number; decisions: number; byRow: number }[] = [];
  const onMeasure = async () => {
    const at = Date.now();
    const decisions = samplesOf(await metricsOf(flashSaleUrl), 'sluice_flash_sale_decisions_total');
    const byRow = decisions.filter(({ labels }) => labels.by === 'row');
    looks.push({ at, decisions: totalOf(decisions), byRow: totalOf(byRow) });
  };
  const flooded = await flood(load, { ...options, pids, onMeasure });
  const [begin, end] = looks;
  if (!begin || !end) throw new Error('the flood was not measured');
  const byRow = (end.byRow - begin.byRow) / (end.decisions - begin.decisions);
  return { ...flooded, byRow, time: [begin.at, end.at] };
}

/** Resolves when every ticket of the sale has its order. */
async function untilOrdered(http: HttpClient, saleId: string): Promise<void> {
  const deadline = performance.now() + SETTLED_WITHIN_MS;
  for (;;) {
    const { counts, stock, queue } = await readSale(http, saleId);
    if (counts.ordered === counts.admitted) return;
    if (performance.now() > deadline)
      throw new Error(
        `after ${SETTLED_WITHIN_MS} ms, ${queue.length} of ${counts.admitted} tickets are queued and ${stock.held} held`,
      );
    await delay(POLL_MS);
  }
}
