// What reading the gauges costs beside a million done messages and completed orders, and 50,000 sales: in blocks that
// PostgreSQL reads, because a duration depends on the machine.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Queryable } from '../../infra/database/port.ts';
import { readMessageGauges } from '../../infra/messaging/message-gauges.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { readOpenSales } from '../../services/flash-sale/store/open-sales.ts';
import { orderService } from '../../services/order/index.ts';
import type { PaymentProvider } from '../../services/order/payments/port.ts';
import { countOverdue } from '../../services/order/store/overdue.ts';
import { type Databases, openDatabases } from '../setup/bus-fixtures.ts';
import { openAlone } from '../setup/service-alone.ts';

const { databaseUrl } = inject('servers');
const MILLION = 1_000_000;

interface Plan {
  readonly 'QUERY PLAN': readonly [{ Plan: { 'Shared Hit Blocks': number; 'Shared Read Blocks': number } }];
}

describe.skipIf(databaseUrl === undefined)('on PostgreSQL', () => {
  let databases: Databases;
  beforeAll(async () => {
    databases = await openDatabases(databaseUrl);
    const { database } = databases;
    const payments = {} as PaymentProvider;
    await openAlone(database, 'order', (context) => orderService({ ...context, payments }));
    await openAlone(database, 'flash-sale', (context) => flashSaleService({ ...context, queues: undefined }));
    const rows = `generate_series(1, ${MILLION}) AS n`;
    const done = `'{"status": "done"}'`;
    await database.longRunning.execute(
      `INSERT INTO sluice_order.inbox (message_id, type, status, next_attempt_at)
       SELECT gen_random_uuid(), 'points.awarded', 'done', NULL FROM ${rows}`,
    );
    await database.longRunning.execute(
      `INSERT INTO sluice_order.progress (order_id, resend_at, points, coupon, notification)
       SELECT gen_random_uuid(), now(), ${done}, ${done}, ${done} FROM ${rows}`,
    );
    await database.longRunning.execute(
      `INSERT INTO sluice_flash_sale.sales (id, sku, name, unit_price, currency, drain_per_second, hold_seconds,
         opens_at, closes_at, stock, remaining, queue_cap)
       SELECT lpad(to_hex(n), 32, '0')::uuid, 'MUG', 'Mug', 1, 'GBP', 1, 0, now() - interval '2 hours',
         now() - interval '1 hour', 1, 1, 1
       FROM generate_series(1, 50000) AS n`,
    );
    for (const table of ['sluice_order.inbox', 'sluice_order.progress', 'sluice_flash_sale.sales'])
      await database.longRunning.execute(`ANALYZE ${table}`);
  }, 300_000);
  afterAll(() => databases?.close());

  const metrics = new Metrics({ process: false });
  const order = { metrics, service: 'order', schema: 'sluice_order' };

  test.each([
    ['messages', (database: Queryable) => readMessageGauges(database, order), 100],
    ['orders', countOverdue, 100],
    ['sales', (database: Queryable) => readOpenSales(database, 20), 4_000],
  ] as const)('the gauges of %s', async (_, read, maxBlocks) => {
    const { database } = databases;
    const blocks: number[] = [];
    const explaining: Queryable = {
      ...database,
      query: async (text, params) => {
        const [row] = await database.query<Plan>(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`, params);
        const plan = row?.['QUERY PLAN'][0].Plan;
        blocks.push(Number(plan?.['Shared Hit Blocks']) + Number(plan?.['Shared Read Blocks']));
        return database.query(text, params);
      },
    };
    await read(explaining);
    expect(blocks).toHaveLength(1);
    expect(blocks[0]).toBeLessThan(maxBlocks);
  });
});
