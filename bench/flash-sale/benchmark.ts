// The benchmark of the flash sale: how many purchases it decides in a flood, against a bare route that rejects them.
import { createSale, readSale } from '../../demos/shared/flash-sales.ts';
import { HttpClient } from '../../demos/shared/http.ts';
import { samplesOf, totalOf } from '../../demos/shared/metrics.ts';
import { recordOf } from '../../demos/shared/record-of.ts';
import { note } from '../../demos/shared/terminal.ts';
import type { Measured } from '../figures.ts';
import { type Durations, type Flooded, flood } from '../flood.ts';
import { type Load, PURCHASE_CONNECTIONS, purchasesTo, type Work } from '../load.ts';
import { metricsOf, poll } from '../metrics.ts';
import { BROKEN } from '../raw-http.ts';
import type { Benchmark } from '../run.ts';
import { readSettings } from '../stored-totals.ts';
import type { System } from '../system.ts';
import { using } from '../using.ts';
import { decidingProcess, type FloodedSale, type FloodPhase, type Floods, figuresOf, PACE, phases } from './report.ts';
import { checkSale } from './stored-sale.ts';

const SETTLED_WITHIN_MS = 60_000;

const PLENTY = 1_000_000_000;
/** Its queue is full as long as the flood lasts, and drains all the time. */
const fullSale = { stock: PLENTY, queueCap: 200, connections: PURCHASE_CONNECTIONS };
const sales = {
  full: fullSale,
  'sold out': { ...fullSale, stock: 50 },
  overload: { ...fullSale, connections: PURCHASE_CONNECTIONS * 10 },
  /** Room for everyone: the queue is longer than any flood. */
  unbounded: { ...fullSale, queueCap: 1_000_000 },
};

type Plan = Readonly<Record<FloodPhase | 'route', Durations>>;

const planOf = (seconds: number): Plan => ({
  route: { warmUp: 1.5, measured: 3 },
  full: { warmUp: 3, measured: seconds },
  'sold out': { warmUp: 1, measured: 4 },
  overload: { warmUp: 2, measured: 5 },
  unbounded: { warmUp: 1, measured: 5 },
});

/** `seconds`: how long the flood of a full queue is measured. */
export function flashSaleBenchmark(seconds: number): Benchmark {
  const plan = planOf(seconds);
  return {
    route: 'flash-sale',
    routeWork: purchasesTo,
    routeDurations: plan.route,
    minHeadroom: 1.5,
    redis: true,
    phases,
    profiled: (mode) => [decidingProcess(mode)],
    measure: (load, system) => measureSales(load, system, plan),
    cpuDuring: 'while the queue is full',
  };
}

async function measureSales(load: Load, system: System, plan: Plan): Promise<Measured> {
  const { floods, settings } = await floodSales(load, system, plan);
  // Under overload the generator may be the limit.
  const compared = [floods.full, floods['sold out'], floods.unbounded];
  const uncounted = Math.max(...Object.values(floods).map((flood) => flood.uncounted));
  const broken = (flooded: readonly Flooded[]) =>
    flooded.reduce((sum, { responses }) => sum + (responses[BROKEN] ?? 0), 0);
  return {
    figures: (route) => figuresOf(system.mode, route, floods),
    checks: (route) => [
      { name: 'connections that broke, except under overload', value: broken([...route, ...compared]), most: 0 },
      { name: 'rejections that the sale did not count', value: uncounted, most: 0 },
    ],
    windows: recordOf(phases, (phase) => floods[phase].window),
    settings,
    cpu: floods.full.cpu,
    generatorCpu: compared.map(({ generatorCpu }) => generatorCpu),
    raw: { floods, settings },
  };
}

async function floodSales(load: Load, system: System, plan: Plan) {
  const done: { readonly phase: FloodPhase; readonly saleId: string; readonly flooded: FloodedSale }[] = [];
  await using(
    new HttpClient(system.flashSaleUrl),
    (http) => http.close(),
    async (http) => {
      for (const phase of phases) {
        note(`  ${phase} …`);
        const { stock, queueCap, connections } = sales[phase];
        const { id: saleId } = await createSale(http, {
          ...{ sku: 'SKU-1', name: 'White hanging heart T-light holder', unitPrice: 100, currency: 'GBP' },
          ...{ stock, queueCap, drainPerSecond: PACE },
        });
        const work = purchasesTo(system.flashSaleUrl, saleId, connections);
        done.push({ phase, saleId, flooded: await floodSale(load, system, work, plan[phase]) });
      }
      // Draining the unbounded queue would take too long.
      for (const { phase, saleId } of done) if (phase !== 'unbounded') await untilOrdered(http, saleId);
    },
  );
  return system.stopServices(async (query) => {
    const floods: [FloodPhase, Floods[FloodPhase]][] = [];
    for (const { phase, saleId, flooded } of done) {
      const stored = await checkSale(query, { saleId, ...flooded, ordered: phase !== 'unbounded' });
      floods.push([phase, { ...flooded, ...stored }]);
    }
    return { floods: Object.fromEntries(floods) as Floods, settings: await readSettings(query) };
  });
}

async function floodSale(
  load: Load,
  { pids, flashSaleUrl }: System,
  work: Work,
  durations: Durations,
): Promise<FloodedSale> {
  const looks: { at: number; decisions: number; byRow: number }[] = [];
  const onMeasure = async () => {
    const at = Date.now();
    const decisions = samplesOf(await metricsOf(flashSaleUrl), 'sluice_flash_sale_decisions_total');
    const byRow = decisions.filter(({ labels }) => labels.by === 'row');
    looks.push({ at, decisions: totalOf(decisions), byRow: totalOf(byRow) });
  };
  const flooded = await flood(load, work, durations, { pids, onMeasure });
  const [begin, end] = looks;
  if (!begin || !end) throw new Error('the flood was not measured');
  const byRow = (end.byRow - begin.byRow) / (end.decisions - begin.decisions);
  return { ...flooded, byRow, time: [begin.at, end.at] };
}

/** Resolves when every ticket of the sale has its order. */
const untilOrdered = (http: HttpClient, saleId: string) =>
  poll(SETTLED_WITHIN_MS, async () => {
    const { counts, stock, queue } = await readSale(http, saleId);
    return counts.ordered === counts.admitted
      ? undefined
      : `${queue.length} of ${counts.admitted} tickets are queued and ${stock.held} held`;
  });
