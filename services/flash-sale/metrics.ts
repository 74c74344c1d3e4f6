// The flash-sale service's metrics: its decisions, and the state of each open sale.
import { Counter } from 'prom-client';
import type { Queryable } from '../../infra/database/port.ts';
import type { Metrics } from '../../infra/observability/metrics.ts';
import { createGauge, type GaugeSample, sampleOf } from '../../infra/observability/stored-gauges.ts';
import { readOpenSales } from './store/open-sales.ts';

/** Sales with series of their own; the count of open sales has all. */
const MAX_SALES = 20;

export const createDecisionCounter = ({ registry }: Pick<Metrics, 'registry'>) =>
  new Counter({
    name: 'sluice_flash_sale_decisions_total',
    help: "Decisions about flash-sale purchases, by outcome; by the sale's row, or by a snapshot of it in memory.",
    labelNames: ['outcome', 'by'],
    registers: [registry],
  });

/** Declares the gauges, and returns the function that reads them. */
export function saleGauges({ registry }: Pick<Metrics, 'registry'>) {
  const open = createGauge(registry, {
    name: 'sluice_flash_sales_open',
    help: 'Flash sales that are open, or sold out while units are held, among the newest 10,000.',
  });
  const queueLength = createGauge(registry, {
    name: 'sluice_flash_sale_queue_length',
    help: `Tickets that wait or are being accepted, by sale: of the newest ${MAX_SALES} open ones.`,
    labels: ['sale'],
  });
  const queueCap = createGauge(registry, {
    name: 'sluice_flash_sale_queue_cap',
    help: 'The queue length at which purchases are rejected, by sale.',
    labels: ['sale'],
  });
  const units = createGauge(registry, {
    name: 'sluice_flash_sale_units',
    help: 'Units of the stock by sale and state: remaining, held by a ticket or an unpaid order, or sold.',
    labels: ['sale', 'state'],
  });
  return async (database: Queryable): Promise<GaugeSample[]> => {
    const { open: count, sales } = await readOpenSales(database, MAX_SALES);
    return [
      sampleOf(open, count),
      ...sales.flatMap(({ id: sale, queued, queueCap: cap, ...state }) => [
        sampleOf(queueLength, queued, { sale }),
        sampleOf(queueCap, cap, { sale }),
        ...(['remaining', 'held', 'sold'] as const).map((name) => sampleOf(units, state[name], { sale, state: name })),
      ]),
    ];
  };
}
