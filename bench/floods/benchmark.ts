// The benchmark of the flash sale: how many purchases it decides in a flood, against a bare route that rejects them.
import { createSale, readSale } from '../../demos/shared/flash-sales.ts';
import { HttpClient } from '../../demos/shared/http.ts';
import { samplesOf, totalOf } from '../../demos/shared/metrics.ts';
import { note } from '../../demos/shared/terminal.ts';
import type { Baseline, Benchmark } from '../benchmark.ts';
import type { Measured } from '../figures.ts';
import { type Durations, flood } from '../flood.ts';
import { FULL, type Load, PURCHASE_CONNECTIONS, purchasesTo, type Work } from '../load.ts';
import { metricsOf, poll } from '../metrics.ts';
import { BROKEN } from '../raw-http.ts';
import type { System } from '../system.ts';
import { using } from '../using.ts';
import {
  DRAIN_PER_SECOND,
  type FloodedSale,
  type FloodPhase,
  type Floods,
  type FloodTargets,
  figuresOf,
  phases,
} from './report.ts';
import { checkSale } from './stored-sale.ts';

const SETTLED_WITHIN_MS = 60_000;

/** The phases in which the queue is full all the time. */
const drainedPhases = ['full', 'overload'] as const;

/** Its queue is full as long as the flood lasts, and drains all the time. */
const fullSale = { stock: 1_000_000_000, queueCap: 200, connections: PURCHASE_CONNECTIONS };
const sales = {
  full: fullSale,
  'sold out': { ...fullSale, stock: 50 },
  overload: { ...fullSale, connections: PURCHASE_CONNECTIONS * 10 },
  /** Room for everyone: the queue is longer than any flood. */
  unbounded: { ...fullSale, queueCap: 1_000_000 },
};

export interface FloodParameters {
  readonly durations: Readonly<Record<FloodPhase, Durations>>;
  readonly targets: FloodTargets;
}

const floodBaseline: Baseline = {
  route: 'flash-sale',
  work: (url) => ({ ...purchasesTo([url]), expected: [FULL] }),
  durations: { warmUp: 1.5, measured: 3 },
  minHeadroom: 1.5,
};

export const floodBenchmark = (parameters: FloodParameters): Benchmark => ({
  baseline: floodBaseline,
  redis: true,
  measure: (load, system) => measureSales(load, system, parameters),
});

async function measureSales(load: Load, system: System, { durations, targets }: FloodParameters): Promise<Measured> {
  const done = await using(
    new HttpClient(system.flashSaleUrl),
    (http) => http.close(),
    (http) => floodSales(load, system, http, durations),
  );
  const { stored: floods, settings } = await system.stopServices(async (query) => {
    const checked: Partial<Record<FloodPhase, Floods[FloodPhase]>> = {};
    for (const { phase, saleId, flooded } of done) {
      const stored = await checkSale(query, { saleId, ...flooded, ordered: phase !== 'unbounded' });
      checked[phase] = { ...flooded, ...stored };
    }
    return checked as Floods;
  });
  // Under overload the generator may be the limit.
  const compared = [floods.full, floods['sold out'], floods.unbounded];
  const broken = compared.reduce((sum, { responses }) => sum + (responses[BROKEN] ?? 0), 0);
  const uncounted = Math.max(...Object.values(floods).map((flood) => flood.uncounted));
  return {
    figures: (route) => figuresOf({ mode: system.mode, route, floods, targets }),
    checks: [
      { name: 'connections that broke, except under overload', value: broken, most: 0 },
      { name: 'rejections that the sale did not count', value: uncounted, most: 0 },
    ],
    settings,
    cpu: floods.full.cpu,
    generatorCpu: compared.map(({ generatorCpu }) => generatorCpu),
    curves: drainedPhases.map((phase) => ({
      title: `Tickets that left the queue per second, ${phase}`,
      values: floods[phase].drainedEachSecond,
      limit: { name: 'drain', value: DRAIN_PER_SECOND },
    })),
    raw: { floods, settings },
  };
}

/** Floods a sale for each phase and waits until their tickets have orders. */
async function floodSales(load: Load, system: System, http: HttpClient, durations: FloodParameters['durations']) {
  const done: { readonly phase: FloodPhase; readonly saleId: string; readonly flooded: FloodedSale }[] = [];
  for (const phase of phases) {
    note(`  ${phase} …`);
    const { stock, queueCap, connections } = sales[phase];
    const { id: saleId } = await createSale(http, {
      sku: 'SKU-1',
      name: 'White hanging heart T-light holder',
      unitPrice: 100,
      currency: 'GBP',
      stock,
      queueCap,
      drainPerSecond: DRAIN_PER_SECOND,
    });
    const work = purchasesTo([system.flashSaleUrl], saleId, connections);
    done.push({ phase, saleId, flooded: await floodSale(load, system, work, durations[phase]) });
  }
  // Draining the unbounded queue would take too long.
  for (const { phase, saleId } of done) if (phase !== 'unbounded') await untilOrdered(http, saleId);
  return done;
}

async function floodSale(
  load: Load,
  { pids, flashSaleUrl }: System,
  work: Work,
  durations: Durations,
): Promise<FloodedSale> {
  const readings: { decisions: number; byRow: number }[] = [];
  const onMeasure = async () => {
    const decisions = samplesOf(await metricsOf(flashSaleUrl), 'sluice_flash_sale_decisions_total');
    const byRow = decisions.filter(({ labels }) => labels.by === 'row');
    readings.push({ decisions: totalOf(decisions), byRow: totalOf(byRow) });
  };
  const flooded = await flood(load, work, durations, { pids, onMeasure });
  const [begin, end] = readings;
  if (!begin || !end) throw new Error('the flood was not measured');
  return { ...flooded, byRow: (end.byRow - begin.byRow) / (end.decisions - begin.decisions) };
}

/** Resolves when every ticket of the sale has its order. */
export const untilOrdered = (http: HttpClient, saleId: string) =>
  poll(SETTLED_WITHIN_MS, async () => {
    const { counts, stock, queue } = await readSale(http, saleId);
    return counts.ordered === counts.admitted
      ? undefined
      : `${queue.length} of ${counts.admitted} tickets are queued and ${stock.held} held`;
  });
