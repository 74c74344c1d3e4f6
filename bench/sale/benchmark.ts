// Sales to a crowd: the pace at which their orders are stored, and the response times of buyers, beside the same crowd
// at a server that costs nothing.
import { setTimeout as delay } from 'node:timers/promises';
import { paceOf } from '../../demos/flash-sale/pace.ts';
import { forkScript } from '../../demos/shared/child-process.ts';
import { createSale, readSale } from '../../demos/shared/flash-sales.ts';
import { HttpClient } from '../../demos/shared/http.ts';
import { note } from '../../demos/shared/terminal.ts';
import type { Benchmark } from '../benchmark.ts';
import type { Curve } from '../curve.ts';
import { type Figure, figure, inPhase, type Measured, type Target } from '../figures.ts';
import { poll } from '../metrics.ts';
import type { Query } from '../stored-totals.ts';
import type { System } from '../system.ts';
import { using } from '../using.ts';
import type { Command, OrderTimes, PerfectSale } from './perfect-server.ts';
import { type CrowdSize, type Visit, visit } from './visit.ts';

export interface SaleParameters extends CrowdSize, Omit<PerfectSale, 'opensAt'> {
  readonly phase: string;
  /** The orders per second over all judged seconds. */
  readonly mean: Target;
  /** The fewest and the most orders in a judged second. */
  readonly eachSecond?: Target;
  /**
   * The longest response times: this many milliseconds, or `timesPerfect` times the perfect server's if that is longer.
   */
  readonly responses?: { readonly p50: number; readonly p99: number; readonly timesPerfect: number };
}

const STARTED_WITHIN_MS = 30_000;
/** Beyond the time in which the queue drains. */
const SETTLED_WITHIN_MS = 120_000;
/** If more than 1 % of the requests leave later than this, the generator did not keep to its plan. */
const MAX_SEND_DELAY_MS = 50;

/** The sales follow one another on the same system, so the first one is cold. */
export const saleBenchmark = (sales: readonly SaleParameters[]): Benchmark => ({
  redis: true,
  measure: (_load, system) => measureSales(system, sales),
});

interface Sold {
  readonly sale: SaleParameters;
  readonly saleId: string;
  readonly visit: Visit;
  readonly perfect: { readonly visit: Visit; readonly orders: OrderTimes };
}

async function measureSales(system: System, sales: readonly SaleParameters[]): Promise<Measured> {
  const sold: Sold[] = [];
  for (const sale of sales) {
    note(`  ${sale.phase} …`);
    sold.push({ sale, ...(await sell(system, sale)), perfect: await sellPerfectly(sale) });
  }
  const { stored, settings } = await system.stopServices(async (query) => {
    const times = [];
    for (const { saleId, visit } of sold) times.push(await storedTimes(query, saleId, visit.opensAt));
    return times;
  });
  const results = sold.map((each, index) => ({ ...each, orders: stored[index]?.orders ?? [], ...stored[index] }));
  return {
    figures: () => results.flatMap(({ sale, ...result }) => inPhase(sale.phase, figuresOf(sale, result))),
    checks: results.flatMap(({ visit, perfect }) => [
      {
        name: 'send delay of the load generator, p99, ms',
        value: visit.sendDelayMs?.p99 ?? 0,
        most: MAX_SEND_DELAY_MS,
      },
      {
        name: 'perfect server: send delay, p99, ms',
        value: perfect.visit.sendDelayMs?.p99 ?? 0,
        most: MAX_SEND_DELAY_MS,
      },
    ]),
    settings,
    cpu: {},
    generatorCpu: results.map(({ visit }) => visit.generatorCpu),
    curves: results.flatMap(({ sale, orders, perfect }) => curvesOf(sale, orders, perfect.orders)),
    raw: { sales: results },
  };
}

async function sell({ flashSaleUrl }: System, { stock, queueCap, drainPerSecond, ...crowd }: SaleParameters) {
  return using(
    new HttpClient(flashSaleUrl),
    (http) => http.close(),
    async (http) => {
      let saleId = '';
      const visited = await visit(flashSaleUrl, crowd, async (opensAt) => {
        const times = { opensAt: new Date(opensAt).toISOString() };
        const sale = { sku: 'SKU-1', name: 'White hanging heart', unitPrice: 100, currency: 'GBP', ...times };
        ({ id: saleId } = await createSale(http, { ...sale, stock, queueCap, drainPerSecond }));
        return saleId;
      });
      await poll(SETTLED_WITHIN_MS + (queueCap / drainPerSecond) * 1_000, async () => {
        const { queue, stock } = await readSale(http, saleId);
        return queue.length + stock.held === 0 || `${queue.length} tickets are queued and ${stock.held} units held`;
      });
      return { saleId, visit: visited };
    },
  );
}

const sellPerfectly = (sale: SaleParameters) =>
  using(
    forkScript('the perfect server', new URL('perfect-server.ts', import.meta.url)),
    (child) => child.end(),
    async (child) => {
      const url = await child.receive<string>(STARTED_WITHIN_MS);
      const { stock, queueCap, drainPerSecond } = sale;
      const visited = await visit(url, sale, async (opensAt) => {
        child.send({ open: { stock, queueCap, drainPerSecond, opensAt } } satisfies Command);
        return 'perfect';
      });
      await delay((queueCap / drainPerSecond) * 1_000);
      const orders = await child.request<OrderTimes>({ report: true } satisfies Command, STARTED_WITHIN_MS);
      return { visit: visited, orders };
    },
  );

const TIMES = `SELECT extract(epoch FROM t.accepted_at)::float8 * 1000 - $2::float8 AS accepted,
    extract(epoch FROM o.created_at)::float8 * 1000 - $2::float8 AS ordered
  FROM sluice_flash_sale.tickets t JOIN sluice_order.orders o ON o.ticket_id = t.id
  WHERE t.sale_id = $1`;

/** Milliseconds after the opening at which tickets left the queue and orders were stored, by the database. */
async function storedTimes(query: Query, saleId: string, opensAt: number) {
  const rows = await query(TIMES, [saleId, opensAt]);
  return {
    accepted: rows.map(({ accepted }) => Number(accepted)),
    orders: rows.map(({ ordered }) => Number(ordered)),
  };
}

/** The whole seconds in which a sale has to drain at its rate: without the first one and the rest of the last one. */
const judgedSeconds = ({ stock, drainPerSecond }: SaleParameters): number[] =>
  Array.from({ length: Math.floor(stock / drainPerSecond) - 1 }, (_, index) => index + 1);

interface Result {
  readonly visit: Visit;
  readonly orders: OrderTimes;
  readonly accepted?: OrderTimes;
  readonly perfect: Sold['perfect'];
}

function figuresOf(sale: SaleParameters, { visit, orders, accepted = [], perfect }: Result): Figure[] {
  const paceIn = (times: OrderTimes) => paceOf(times, judgedSeconds(sale), sale.drainPerSecond);
  const [pace, left, ideal] = [paceIn(orders), paceIn(accepted), paceIn(perfect.orders)];
  const responseFigures = (['p50', 'p99'] as const).flatMap((percentile): Figure[] => {
    const perfectMs = perfect.visit.responseMs?.[percentile];
    const { [percentile]: mostMs = 0, timesPerfect = 0 } = sale.responses ?? {};
    const target = sale.responses && { most: Math.max(mostMs, timesPerfect * (perfectMs ?? 0)) };
    return [
      figure(`responses, ${percentile}`, 'ms', visit.responseMs?.[percentile], target),
      figure(`perfect server: responses, ${percentile}`, 'ms', perfectMs),
    ];
  });
  return [
    figure('orders', '/s', pace?.mean, sale.mean),
    figure(
      'share of the seconds within 10 % of the rate',
      'ratio',
      pace ? pace.held / pace.seconds : undefined,
      sale.eachSecond && { least: 1 },
    ),
    figure('fewest orders in a second', '/s', pace?.min, sale.eachSecond),
    figure('most orders in a second', '/s', pace?.max, sale.eachSecond),
    figure('tickets that left the queue', '/s', left?.mean),
    figure('until all are ordered', 's', orders.reduce((a, b) => Math.max(a, b), 0) / 1_000),
    figure('perfect server: orders', '/s', ideal?.mean),
    figure('perfect server: share of the seconds within 10 %', 'ratio', ideal ? ideal.held / ideal.seconds : undefined),
    ...responseFigures,
  ];
}

function curvesOf({ phase, drainPerSecond }: SaleParameters, orders: OrderTimes, perfect: OrderTimes): Curve[] {
  const limit = { name: 'drain', value: drainPerSecond };
  return [
    { title: `Orders per second, ${phase}`, values: histogram(orders), limit },
    { title: `The same crowd at the perfect server`, values: histogram(perfect), limit },
  ];
}

function histogram(times: OrderTimes): number[] {
  const seconds = times.map((time) => Math.floor(time / 1_000));
  const values: number[] = new Array(seconds.reduce((a, b) => Math.max(a, b), 0) + 1).fill(0);
  for (const second of seconds) values[second] = (values[second] ?? 0) + 1;
  return values;
}
