// The gain from more processes of a service: consumers of each kind at full load, and gateways in a flood. On a machine
// with few cores, the curve shows when they are used up.
import { createSale } from '../demos/shared/flash-sales.ts';
import { HttpClient } from '../demos/shared/http.ts';
import { sum } from '../demos/shared/statistics.ts';
import { note } from '../demos/shared/terminal.ts';
import type { Benchmark } from './benchmark.ts';
import { figure, inPhase, type Measured } from './figures.ts';
import { type Durations, type Flooded, flood, rateOf } from './flood.ts';
import { untilOrdered } from './floods/benchmark.ts';
import { checkSale } from './floods/stored-sale.ts';
import { FULL, type Load, OVER, purchasesTo } from './load.ts';
import { measureSustained } from './orders/measure.ts';
import { BROKEN } from './raw-http.ts';
import { type Query, readTotals } from './stored-totals.ts';
import type { System } from './system.ts';
import { using } from './using.ts';

export interface ScaleParameters {
  /** Ascending numbers of processes. */
  readonly counts: readonly number[];
  readonly durations: Durations;
}

interface Throughput {
  readonly perSecond: number;
  readonly eachSecond: readonly number[];
  readonly cpu: Readonly<Record<string, number>>;
  readonly generatorCpu: number;
}
/** The measurement of some services. `urls`: of the processes of the last one. */
interface Kind<M extends Throughput> {
  readonly services: readonly string[];
  readonly unit: string;
  readonly measure: (load: Load, system: System, urls: readonly string[], durations: Durations) => Promise<M>;
  /** Throws if the databases do not hold what the clients were told. */
  readonly check: (query: Query, measured: readonly M[]) => Promise<Measured['checks']>;
}

const consumers: Kind<Throughput & { readonly accepted: number }> = {
  services: ['points', 'coupon', 'notify'],
  unit: 'completed orders',
  async measure(load, system, _urls, durations) {
    const measured = await measureSustained(load, system, durations);
    const { completedPerSecond, completedEachSecond, cpu, generatorCpu, accepted } = measured;
    return { perSecond: completedPerSecond, eachSecond: completedEachSecond, cpu, generatorCpu, accepted };
  },
  async check(query, measured) {
    const { resends = Number.NaN } = await readTotals(query, sum(measured.map(({ accepted }) => accepted)));
    return [{ name: 'resends of order.placed', value: resends, most: 0 }];
  },
};

interface GatewayThroughput extends Throughput {
  readonly saleId: string;
  readonly flooded: Flooded;
}

const gateways: Kind<GatewayThroughput> = {
  services: ['flash-sale'],
  unit: 'decisions',
  measure: (load, system, urls, durations) =>
    using(
      new HttpClient(system.flashSaleUrl),
      (http) => http.close(),
      async (http) => {
        const goods = { sku: 'SKU-1', name: 'White hanging heart', unitPrice: 100, currency: 'GBP' };
        const sale = await createSale(http, { ...goods, stock: 1_000_000, queueCap: 200, drainPerSecond: 100 });
        const flooded = await flood(load, purchasesTo(urls, sale.id), durations, { pids: system.pids });
        await untilOrdered(http, sale.id);
        const { cpu, generatorCpu } = flooded;
        const perSecond = rateOf(flooded, FULL, OVER);
        const eachSecond: number[] = new Array(durations.measured).fill(perSecond); // only their mean is known
        return { perSecond, eachSecond, cpu, generatorCpu, saleId: sale.id, flooded };
      },
    ),
  async check(query, measured) {
    const uncounted: number[] = [];
    for (const { saleId, flooded } of measured)
      uncounted.push((await checkSale(query, { saleId, ...flooded, ordered: true })).uncounted);
    const broken = sum(measured.map(({ flooded }) => flooded.responses[BROKEN] ?? 0));
    return [
      { name: 'connections that broke', value: broken, most: 0 },
      { name: 'rejections that the sale did not count', value: Math.max(...uncounted), most: 0 },
    ];
  },
};

export const scaleBenchmark = (kind: 'consumers' | 'gateways', parameters: ScaleParameters): Benchmark => ({
  redis: kind === 'gateways',
  measure: (load, system) =>
    kind === 'consumers' ? measure(load, system, consumers, parameters) : measure(load, system, gateways, parameters),
});

async function measure<M extends Throughput>(
  load: Load,
  system: System,
  { services, unit, measure: measureOnce, check }: Kind<M>,
  { counts, durations }: ScaleParameters,
): Promise<Measured> {
  const urls = [system.processOf(services.at(-1) ?? '').url];
  const measured: (M & { count: number })[] = [];
  for (const count of counts) {
    note(`  ${count} of each: ${services.join(', ')} …`);
    while (urls.length < count)
      for (const service of services) {
        const { url } = await system.addProcess(service);
        if (service === services.at(-1)) urls.push(url);
      }
    measured.push({ count, ...(await measureOnce(load, system, urls, durations)) });
  }
  const { stored: checks, settings } = await system.stopServices((query) => check(query, measured));
  const first = measured[0]?.perSecond ?? Number.NaN;
  const cores = (cpu: Throughput['cpu']) => sum(Object.values(cpu)) * 100;
  return {
    figures: () =>
      measured.flatMap(({ count, perSecond, cpu }) =>
        inPhase(`${count} of each`, [
          figure(unit, '/s', perSecond),
          figure(`${unit} ÷ with ${counts[0]}`, 'ratio', perSecond / first),
          figure('CPU of all processes, of one core', '%', cores(cpu)),
        ]),
      ),
    checks,
    settings,
    cpu: measured.at(-1)?.cpu ?? {},
    generatorCpu: measured.map(({ generatorCpu }) => generatorCpu),
    curves: [
      {
        title: `${unit} per second: with ${counts.join(', ')} of each, one after the other`,
        values: measured.flatMap(({ eachSecond }) => eachSecond),
      },
    ],
    raw: { measured, settings },
  };
}
