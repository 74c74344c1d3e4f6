// The gauges that services read from their tables, with rows that the system itself wrote: a dead message, one that is
// being retried, an event whose broker is away, orders that wait for replies and for their payments, sales.
import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createFlashSaleRequest } from '../../contracts/flash-sales.ts';
import { readMessageGauges } from '../../infra/messaging/message-gauges.ts';
import { NEW_EVENTS, Outbox } from '../../infra/messaging/outbox.ts';
import { WorkerHeartbeat } from '../../infra/messaging/worker-heartbeat.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import { StoredGauges } from '../../infra/observability/stored-gauges.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { saleGauges } from '../../services/flash-sale/metrics.ts';
import { admit, insertSale } from '../../services/flash-sale/store/sales.ts';
import { createCancelOrder } from '../../services/order/cancel-order.ts';
import { orderGauges } from '../../services/order/gauges.ts';
import { orderService } from '../../services/order/index.ts';
import { createPayOrder } from '../../services/order/pay-order.ts';
import { type PaymentProvider, PaymentUnknown } from '../../services/order/payments/port.ts';
import { createPlaceOrder } from '../../services/order/place-order.ts';
import { type Databases, databasePlaces, log } from '../setup/bus-fixtures.ts';
import { createTables } from '../setup/group-consumer.ts';
import { createInbox } from '../setup/inbox.ts';
import { startRelay } from '../setup/relay.ts';
import { eventBody, openAlone } from '../setup/service-alone.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');
const HOUR = 3_600;

describe.for(databasePlaces(databaseUrl).filter(({ available }) => available))('on $place', ({ open }) => {
  let databases: Databases;
  beforeAll(async () => {
    databases = await open();
  });
  afterAll(() => databases?.close());

  /** Returns a function that reads the samples of gauges: `name{label values}` and the value. */
  function reader(metrics: Metrics, read: ConstructorParameters<typeof StoredGauges>[0]) {
    let now = 0;
    const gauges = new StoredGauges(read, () => now);
    return async (): Promise<Record<string, number>> => {
      now += 100_000; // the values are no longer fresh
      await gauges.refresh();
      const samples = (await metrics.registry.getMetricsAsJSON()).flatMap(({ name, values }) =>
        values.map(({ labels, value }) => [`${name}{${Object.values(labels)}}`.replace('sluice_', ''), value] as const),
      );
      return Object.fromEntries(samples);
    };
  }

  describe('messages', () => {
    /** The tables of a service, and the function that reads its gauges. */
    async function tables(embeddedWorks?: boolean) {
      const { database } = databases;
      const schema = `g_${randomUUID().replaceAll('-', '')}`;
      await createTables(database, { name: 'points', schema });
      const metrics = new Metrics({ process: false });
      const options = { metrics, service: 'points', schema, embeddedWorks };
      return { database, schema, read: reader(metrics, () => readMessageGauges(database, options)) };
    }

    test('nothing waits in new tables, and no worker works', async () => {
      const { read } = await tables();
      const samples = await read();
      expect(samples).toMatchObject({
        'outbox_rows{points,bus}': 0,
        'outbox_rows{points,user}': 0,
        'outbox_oldest_age_seconds{points,bus}': 0,
        'inbox_oldest_age_seconds{points}': 0,
        'failed_messages{points,dead}': 0,
        'failed_messages{points,retrying}': 0,
        'workers{points}': 0,
      });
      expect(samples).not.toHaveProperty(['worker_heartbeat_age_seconds{points}']);
    });

    test('a message that is retried, and then dead', async () => {
      const { database, schema, read } = await tables();
      const inbox = createInbox(database, schema, {
        handlers: {
          'order.placed': {
            handle: async () => {
              throw new Error('out of points');
            },
          },
        },
        attempts: 2,
        retryBaseMs: 1,
        retryMaxMs: 1,
        pollMs: 10,
      });
      const orderId = uuidv7();
      const data = { orderId, userId: 'alice', currency: 'GBP', total: 100, itemCount: 1 };
      await inbox.process([{ body: eventBody('order.placed', orderId, data) }]);
      await database.execute(`UPDATE ${schema}.inbox SET received_at = now() - interval '1 hour'`);
      const retrying = await read();
      expect(retrying).toMatchObject({ 'failed_messages{points,retrying}': 1, 'failed_messages{points,dead}': 0 });
      expect(retrying['inbox_oldest_age_seconds{points}']).toBeCloseTo(HOUR, -2);

      inbox.start();
      try {
        await eventually(async () => (await read())['failed_messages{points,dead}'] === 1, { what: 'it is dead' });
      } finally {
        await inbox.stop();
      }
      const dead = await read();
      expect(dead).toMatchObject({ 'failed_messages{points,retrying}': 0, 'inbox_oldest_age_seconds{points}': 0 });
    });

    test('a message that is stored and not handled yet', async () => {
      const { database, schema, read } = await tables();
      const orderId = uuidv7();
      const data = { orderId, userId: 'alice', currency: 'GBP', total: 100, itemCount: 1 };
      let finish = () => {};
      const slow = new Promise<void>((resolve) => {
        finish = resolve;
      });
      const inbox = createInbox(database, schema, {
        handlers: { 'order.placed': { prepare: () => slow, handle: async () => undefined } },
      });
      await inbox.enqueue([{ body: eventBody('order.placed', orderId, data) }]);
      await database.execute(`UPDATE ${schema}.inbox SET received_at = now() - interval '1 hour'`);
      expect((await read())['inbox_oldest_age_seconds{points}']).toBeCloseTo(HOUR, -2);
      finish();
      await inbox.stop();
      expect((await read())['inbox_oldest_age_seconds{points}']).toBe(0);
    });

    test('an event whose broker is away, and nothing once the broker is back', async () => {
      const { database, schema, read } = await tables();
      let away = true;
      const { outbox } = startRelay({
        database,
        schema,
        publish: async (rows) =>
          away ? rows.map((row) => ({ row, error: 'the broker is away', transportDown: true })) : [],
      });
      const event = { id: uuidv7(), type: 'points.awarded', subject: uuidv7(), time: new Date(), data: {} };
      await outbox.write(database, NEW_EVENTS, [event]);
      await database.execute(`UPDATE ${schema}.outbox SET written_at = now() - interval '1 hour'`);
      const samples = await read();
      expect(samples).toMatchObject({ 'outbox_rows{points,bus}': 1, 'outbox_rows{points,user}': 0 });
      expect(samples['outbox_oldest_age_seconds{points,bus}']).toBeCloseTo(HOUR, -2);
      expect(samples['outbox_oldest_age_seconds{points,user}']).toBe(0);
      away = false;
      await eventually(async () => (await read())['outbox_rows{points,bus}'] === 0, { what: 'it is published' });
      expect((await read())['outbox_oldest_age_seconds{points,bus}']).toBe(0);
    });

    test('workers, and how long ago the last of them was seen', async () => {
      const { database, schema, read } = await tables();
      const heartbeat = new WorkerHeartbeat({ database, schema, state: () => ({ status: 'up' }), log });
      heartbeat.start();
      try {
        await eventually(async () => (await read())['workers{points}'] === 1, { what: 'a worker is known' });
        expect((await read())['worker_heartbeat_age_seconds{points}']).toBeLessThan(10);
        await database.execute(`INSERT INTO ${schema}.workers VALUES (gen_random_uuid(), '{}', now())`);
        expect((await read())['workers{points}']).toBe(2);
        await database.execute(`UPDATE ${schema}.workers SET beat_at = now() - interval '1 minute'`);
        const lost = await read();
        expect(lost['workers{points}']).toBe(0);
        expect(lost['worker_heartbeat_age_seconds{points}']).toBeCloseTo(60, -1);
      } finally {
        await heartbeat.stop();
      }
      const embedded = await tables(true);
      expect(await embedded.read()).toMatchObject({ 'workers{points}': 1, 'worker_heartbeat_age_seconds{points}': 0 });
    });

    test('have no values while the tables cannot be read', async () => {
      const { database, schema, read } = await tables();
      expect(Object.keys(await read())).toContain('outbox_rows{points,bus}');
      await database.execute(`ALTER TABLE ${schema}.inbox RENAME TO elsewhere`);
      expect(Object.keys(await read()).filter((sample) => sample.includes('points'))).toEqual([]);
      await database.execute(`ALTER TABLE ${schema}.elsewhere RENAME TO inbox`);
      expect(Object.keys(await read())).toContain('outbox_rows{points,bus}');
    });
  });

  test('orders whose replies are overdue, and payments in doubt', async () => {
    const { database } = databases;
    const provider: PaymentProvider = {
      charge: () => Promise.reject(new PaymentUnknown('no response')),
      cancel: () => Promise.reject(new PaymentUnknown('no response')),
      close: async () => {},
    };
    const { service } = await openAlone(database, 'order', (context) =>
      orderService({ ...context, payments: provider }),
    );
    const metrics = new Metrics({ process: false });
    const readGauges = orderGauges(metrics);
    const read = reader(metrics, () => readGauges(database));
    const none = {
      'orders_overdue{placed}': 0,
      'orders_overdue{cancelling}': 0,
      'payments_in_doubt{}': 0,
      'payments_in_doubt_oldest_age_seconds{}': 0,
    };
    expect(await read()).toMatchObject(none);

    const outbox = new Outbox('sluice_order');
    const parts = { database, outbox, provider, retryAfterMs: 60_000, log, resendAfterMs: 60_000 };
    const placeOrder = createPlaceOrder(parts);
    const items = [{ sku: 'MUG', quantity: 1, unitPrice: 100 }];
    const place = async () => {
      const placed = await placeOrder({ userId: 'ann', currency: 'GBP', items }, undefined);
      if (placed.outcome !== 'placed') throw new Error(placed.outcome);
      return placed.order.id;
    };
    const [late, cancelled, unpaid] = [await place(), await place(), await place()];
    await createCancelOrder(parts)(cancelled, undefined);
    expect(await read()).toMatchObject(none);

    // The requests for two of them become due, and are resent.
    await database.execute('UPDATE sluice_order.progress SET resend_at = now() WHERE order_id = ANY($1::uuid[])', [
      [late, cancelled],
    ]);
    expect(await read()).toMatchObject({ 'orders_overdue{placed}': 1, 'orders_overdue{cancelling}': 1 });
    for (const loop of service.loops ?? []) loop.start();
    const resent = 'SELECT FROM sluice_order.progress WHERE resends > 0 AND resend_at > now()';
    await eventually(async () => (await database.query(resent)).length === 2, { what: 'both requests are resent' });
    await Promise.all((service.loops ?? []).map((loop) => loop.stop()));
    expect(await read()).toMatchObject({ 'orders_overdue{placed}': 1, 'orders_overdue{cancelling}': 1 });

    // A failed step is a result, although the order is not completed: its message is dead, or an operator discarded it.
    const stepIs = (status: string) => `jsonb_build_object('status', '${status}')`;
    await database.execute(
      `UPDATE sluice_order.progress SET points = ${stepIs('failed')}, coupon = ${stepIs('done')},
         notification = ${stepIs('done')} WHERE order_id = $1`,
      [late],
    );
    expect(await read()).toMatchObject({ 'orders_overdue{placed}': 0, 'orders_overdue{cancelling}': 1 });

    await database.execute(
      `UPDATE sluice_order.progress SET state = 'awaiting-payment', expires_at = now() + interval '1 hour',
         awaiting_event_id = gen_random_uuid() WHERE order_id = $1`,
      [unpaid],
    );
    const pay = createPayOrder(parts);
    expect(await pay(unpaid)).toBe('unknown');
    expect((await read())['payments_in_doubt{}']).toBe(1);
    await database.execute(`UPDATE sluice_order.progress SET paying_since = now() - interval '1 hour'
      WHERE state = 'paying'`);
    expect(await pay(unpaid)).toBe('unknown'); // the same attempt
    expect((await read())['payments_in_doubt_oldest_age_seconds{}']).toBeCloseTo(HOUR, -2);
    const approving = createPayOrder({ ...parts, provider: { ...provider, charge: async () => 'approved' as const } });
    expect(await approving(unpaid)).toBe('paid');
    expect(await read()).toMatchObject({ 'payments_in_doubt{}': 0, 'payments_in_doubt_oldest_age_seconds{}': 0 });
  });

  test('the newest 20 open sales, and the number of all', async () => {
    const { database } = databases;
    await openAlone(database, 'flash-sale', (context) => flashSaleService({ ...context, queues: undefined }));
    const metrics = new Metrics({ process: false });
    const readGauges = saleGauges(metrics);
    const read = reader(metrics, () => readGauges(database));
    expect((await read())['flash_sales_open{}']).toBe(0);

    const sell = async (changes: object = {}) => {
      const id = uuidv7();
      const terms = {
        sku: 'MUG',
        name: 'Mug',
        unitPrice: 100,
        currency: 'GBP',
        stock: 5,
        queueCap: 3,
        drainPerSecond: 1,
      };
      expect(await insertSale(database, id, createFlashSaleRequest.parse({ ...terms, ...changes }))).toBe(true);
      return id;
    };
    const first = await sell();
    const soldOut = await sell({ stock: 1 });
    const scheduled = await sell({ opensAt: new Date(Date.now() + 3_600_000).toISOString() });
    const buy = (sale: string, users: readonly string[]) =>
      admit(
        database,
        sale,
        users.map((userId) => ({ ticketId: uuidv7(), userId })),
      );
    await buy(first, ['ann', 'bob']);
    await buy(soldOut, ['ann']);
    const state = (sale: string, [length, cap, remaining, held, sold]: readonly number[]) => ({
      [`flash_sale_queue_length{${sale}}`]: length,
      [`flash_sale_queue_cap{${sale}}`]: cap,
      [`flash_sale_units{${sale},remaining}`]: remaining,
      [`flash_sale_units{${sale},held}`]: held,
      [`flash_sale_units{${sale},sold}`]: sold,
    });
    const opened = await read();
    expect(opened).toMatchObject({
      'flash_sales_open{}': 2,
      ...state(first, [2, 3, 3, 2, 0]),
      ...state(soldOut, [1, 3, 0, 1, 0]),
    });
    expect(Object.keys(opened).filter((sample) => sample.includes(scheduled))).toEqual([]);

    // A sale that is sold for good, and one that closes, disappear.
    await database.execute(`UPDATE sluice_flash_sale.sales SET held = 0, sold = 1, queued = 0 WHERE id = $1`, [
      soldOut,
    ]);
    await database.execute(`UPDATE sluice_flash_sale.sales SET closes_at = clock_timestamp() WHERE id = $1`, [first]);
    const closed = await read();
    expect(closed['flash_sales_open{}']).toBe(0);
    expect(Object.keys(closed).filter((sample) => sample.startsWith('flash_sale_'))).toEqual([]);

    const many: string[] = [];
    for (let sale = 0; sale < 21; sale++) many.push(await sell());
    const shown = Object.keys(await read()).flatMap((name) => /^flash_sale_queue_cap\{(.*)\}$/.exec(name)?.[1] ?? []);
    expect((await read())['flash_sales_open{}']).toBe(21);
    expect(shown.toSorted()).toEqual(many.slice(1));
  });
});
