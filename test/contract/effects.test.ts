// The effects of messages, each service on its own with its tables: the result is the same if a message arrives once,
// twice, late, or after its inbox row is pruned. Cancellations are tested in cancellation.test.ts.
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { z } from 'zod';
import { serveAudit } from '../../app/admin/audit.ts';
import { schemaOf } from '../../app/schemas.ts';
import { factsPage, messagesSummary, type OrderFact, orderFact } from '../../contracts/facts.ts';
import { createFlashSaleRequest } from '../../contracts/flash-sales.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import { createApp } from '../../infra/http/app.ts';
import { listen } from '../../infra/http/server.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import type { PacedQueues } from '../../infra/queue/port.ts';
import type { AnyService } from '../../infra/runtime/service.ts';
import { couponService } from '../../services/coupon/index.ts';
import { createTicketAcceptance } from '../../services/flash-sale/accept-ticket.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { admit, findSale, findTickets, insertSale } from '../../services/flash-sale/store/sales.ts';
import { notifyService } from '../../services/notify/index.ts';
import { createCancelOrder } from '../../services/order/cancel-order.ts';
import { orderService } from '../../services/order/index.ts';
import { createPayOrder } from '../../services/order/pay-order.ts';
import { openHttpProvider } from '../../services/order/payments/http-provider.ts';
import { type PaymentProvider, PaymentUnknown } from '../../services/order/payments/port.ts';
import { createPlaceOrder } from '../../services/order/place-order.ts';
import { settlePayments } from '../../services/order/settle-payments.ts';
import { findOrder, listOrders, recordSteps } from '../../services/order/store/orders.ts';
import { pointsService } from '../../services/points/index.ts';
import { get } from '../setup/api.ts';
import { type Databases, log, openDatabases } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { type PaymentsInside, startPaymentsInside } from '../setup/payments.ts';
import { eventBody, openAlone, type ServiceAlone } from '../setup/service-alone.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');
/** No request is resent during a test. */
const RESEND_AFTER_MS = 3_600_000;

let databases: Databases;
let payments: PaymentsInside;
let provider: PaymentProvider;
beforeAll(async () => {
  databases = await openDatabases(databaseUrl);
  payments = await startPaymentsInside();
  // Short, so that a provider that does not respond delays a test only briefly.
  provider = openHttpProvider({ url: payments.url, timeoutMs: 500 });
});
afterAll(async () => {
  await provider?.close();
  await payments?.stop();
  await databases?.close();
});

const placed = (orderId: string) =>
  eventBody('order.placed', orderId, { orderId, userId: 'alice', currency: 'GBP', total: 5_997, itemCount: 3 });

const steps = [
  ['points', pointsService, 'sluice_points.entries', 'points.awarded'],
  ['coupon', couponService, 'sluice_coupon.decisions', 'coupon.issued'],
  ['notify', notifyService, 'sluice_notify.notifications', 'notification.sent'],
] as const;

describe.for(steps)('%s', ([name, create, effects, reply]) => {
  const effectsOf = (orderId: string) =>
    databases.database.query(`SELECT * FROM ${effects} WHERE order_id = $1`, [orderId]);

  test('gives an order that arrives again after the inbox is pruned no second effect, and the same reply', async () => {
    const { tell, forget, said } = await openAlone(databases.database, name, create);
    const orderId = uuidv7();
    const message = placed(orderId);
    await tell(message);
    const [effect] = await effectsOf(orderId);
    await forget();
    await tell(message);
    await tell(placed(orderId)); // in another message
    expect(await effectsOf(orderId)).toEqual([effect]);
    const replies = await said(orderId);
    expect(replies.map(({ type }) => type)).toEqual([reply, reply, reply]);
    expect(new Set(replies.map((each) => JSON.stringify(each))).size).toBe(1);
  });

  test('replies to a repeated request with the same event', async () => {
    const { tell, said } = await openAlone(databases.database, name, create);
    const orderId = uuidv7();
    const message = placed(orderId);
    await tell(message);
    await tell(message);
    const [first, second, ...more] = await said(orderId);
    expect(first).toMatchObject({ type: reply });
    expect([second, ...more]).toEqual([first]);
  });
});

/** The response of the order service at /audit/order and below. */
async function auditOf<T>(service: AnyService, path: string, schema: z.ZodType<T>): Promise<T> {
  const outbox = new Outbox('sluice_order');
  const app = createApp(log, (api) =>
    serveAudit(api, { name: 'order', service, database: databases.database, outbox }),
  );
  const server = await listen(app, '127.0.0.1', 0);
  cleanUps.push(() => server.close());
  return get(`${server.url}/audit/order${path}`, schema);
}

describe('order', () => {
  const open = () =>
    openAlone(databases.database, 'order', (context) => orderService({ ...context, payments: provider }));

  /** Runs the loops of the service (resend, expire, settle) until the end of the test. */
  function startLoops({ service }: ServiceAlone): void {
    for (const loop of service.loops ?? []) {
      loop.start();
      cleanUps.push(() => loop.stop());
    }
  }

  /** Places an order for a ticket and returns its id. `holdSeconds`: its time to pay. */
  async function place({ tell }: ServiceAlone, holdSeconds = 0): Promise<string> {
    const ticketId = randomUUID();
    const item = { sku: 'LAMP', name: 'Lamp', unitPrice: 5_900 };
    const ticket = { ticketId, saleId: randomUUID(), userId: 'alice', currency: 'GBP', item, holdSeconds };
    await tell(eventBody('flash-sale.ticket.accepted', ticketId, ticket));
    const [row] = await databases.database.query<{ id: string }>(
      'SELECT id FROM sluice_order.orders WHERE ticket_id = $1',
      [ticketId],
    );
    return String(row?.id);
  }

  const progressOf = async (orderId: string) => {
    const [row] = await databases.database.query<{ state: string; points: string }>(
      `SELECT state, points->>'status' AS points FROM sluice_order.progress WHERE order_id = $1`,
      [orderId],
    );
    return row;
  };

  test('a step only moves up, in any order of its results', async () => {
    const { tell, ...order } = await open();
    const orderId = await place({ tell, ...order });
    const failed = () =>
      eventBody('step.failed', orderId, { orderId, step: 'points', eventId: uuidv7(), error: 'no luck' });
    await tell(failed());
    expect((await progressOf(orderId))?.points).toBe('failed');
    await tell(eventBody('points.awarded', orderId, { orderId, userId: 'alice', points: 59 }));
    expect((await progressOf(orderId))?.points).toBe('done');
    await tell(failed());
    expect((await progressOf(orderId))?.points).toBe('done');
  });

  test.each([
    ['failed', 'done'],
    ['done', 'failed'],
  ] as const)('of results in one batch, %s before %s, the one that is further along counts', async (...statuses) => {
    const order = await open();
    const orderId = await place(order);
    const at = '2026-11-20T10:11:12.345Z';
    const reports = statuses.map((status) => ({
      orderId,
      name: 'points' as const,
      step: { status, at },
      reversalFailed: false,
    }));
    await databases.database.transaction((tx) => recordSteps(tx, reports));
    expect((await progressOf(orderId))?.points).toBe('done');
  });

  test('batches about the same orders in opposite order do not deadlock', async () => {
    const order = await open();
    const orderIds: string[] = [];
    while (orderIds.length < 20) orderIds.push(await place(order));
    const record = (ids: readonly string[], status: 'failed' | 'done') =>
      databases.database.transaction((tx) =>
        recordSteps(
          tx,
          ids.map((orderId) => ({ orderId, name: 'points', step: { status }, reversalFailed: false })),
        ),
      );
    for (let round = 0; round < 10; round++)
      await Promise.all([record(orderIds, 'failed'), record(orderIds.toReversed(), 'done')]);
    expect((await progressOf(String(orderIds[0])))?.points).toBe('done');
  });

  describe('with a dead message', () => {
    const failed = (orderId: string, of?: string) =>
      eventBody('step.failed', orderId, { orderId, step: 'points', eventId: uuidv7(), of, error: 'no luck' });
    const awarded = (orderId: string) => eventBody('points.awarded', orderId, { orderId, userId: 'alice', points: 59 });
    const revoked = (orderId: string) => eventBody('points.revoked', orderId, { orderId, userId: 'alice', points: 59 });
    const pointsOf = async (orderId: string) => (await findOrder(databases.database, orderId))?.steps.points;
    const statusOf = async (orderId: string) => (await pointsOf(orderId))?.status;
    const cancel = (orderId: string) =>
      createCancelOrder({
        database: databases.database,
        outbox: new Outbox('sluice_order'),
        resendAfterMs: RESEND_AFTER_MS,
      })(orderId, undefined);

    test('shows a failed reversal until the step is reverted, despite late results', async () => {
      const order = await open();
      const orderId = await place(order);
      await order.tell(awarded(orderId));
      await cancel(orderId);
      expect(await statusOf(orderId)).toBe('done');
      await order.tell(failed(orderId, 'order.cancelled'), awarded(orderId));
      await order.tell(awarded(orderId));
      expect(await pointsOf(orderId)).toEqual({
        status: 'failed',
        at: expect.stringMatching(/Z$/),
        detail: 'the reversal failed; an operator can retry it',
      });
      await order.tell(revoked(orderId));
      await order.tell(failed(orderId, 'order.cancelled'));
      expect(await statusOf(orderId)).toBe('reverted');
    });

    test('ignores the failure of another message, and of a cancellation that did not happen', async () => {
      const order = await open();
      const orderId = await place(order);
      await order.tell(awarded(orderId));
      await order.tell(failed(orderId, 'order.cancelled'));
      await cancel(orderId);
      for (const type of [undefined, 'order.placed', 'nonsense']) await order.tell(failed(orderId, type));
      expect(await statusOf(orderId)).toBe('done');
    });
  });

  test('resends the same event while replies are overdue', async () => {
    const order = await open();
    const orderId = await place(order);
    startLoops(order);
    const requests = await eventually(
      async () => {
        const sent = await order.said(orderId);
        return sent.length >= 3 && sent;
      },
      { what: 'the request is resent twice', timeoutMs: 5_000 },
    );
    expect(requests[0]).toMatchObject({ type: 'order.placed' });
    expect(new Set(requests.map((request) => JSON.stringify(request))).size).toBe(1);
  });

  test('a resent event is as old as its outbox row, not as its cause', async () => {
    const order = await open();
    const orderId = await place(order);
    await databases.database.script(`
      DELETE FROM sluice_order.outbox;
      UPDATE sluice_order.orders SET created_at = now() - interval '3 hours' WHERE id = '${orderId}'`);
    startLoops(order);
    await eventually(async () => (await order.said(orderId)).length > 0, { what: 'the request is resent' });
    const [event] = await databases.database.query<{ old: boolean }>(
      `SELECT time < now() - interval '2 hours' AS old FROM sluice_order.outbox WHERE subject = $1`,
      [orderId],
    );
    expect(event).toEqual({ old: true });
    const { outbox } = await auditOf(order.service, '/messages', messagesSummary);
    expect(outbox.bus.rows).toBeGreaterThan(0);
    expect(outbox.bus.oldestMs).toBeLessThan(60_000);
  });

  test('the same idempotency key is the same order; with another body it is rejected', async () => {
    const { database } = databases;
    await open();
    const placeOrder = createPlaceOrder({
      database,
      outbox: new Outbox('sluice_order'),
      resendAfterMs: RESEND_AFTER_MS,
    });
    const request = { userId: 'alice', currency: 'GBP', items: [{ sku: 'MUG', quantity: 1, unitPrice: 1_999 }] };
    const key = randomUUID();
    const first = await placeOrder(request, key);
    expect(first).toMatchObject({ outcome: 'placed', order: { total: 1_999 } });
    expect(await placeOrder(request, key)).toEqual({ ...first, outcome: 'replayed' });
    expect(await placeOrder({ ...request, currency: 'EUR' }, key)).toEqual({ outcome: 'key-reused' });
  });

  describe('that waits for payment', () => {
    const pay = (orderId: string) => {
      const outbox = new Outbox('sluice_order');
      // No sweep takes up the attempt.
      const options = {
        database: databases.database,
        outbox,
        provider,
        resendAfterMs: RESEND_AFTER_MS,
        retryAfterMs: 60_000,
        log,
      };
      return createPayOrder(options)(orderId);
    };

    test('does not expire while it is being paid', async () => {
      const order = await open();
      startLoops(order);
      await payments.behave({ respondLateMs: 60_000 });
      cleanUps.push(() => payments.behave({}));
      const paying = await place(order, 2);
      expect(await pay(paying)).toBe('unknown');
      const unpaid = await place(order, 2); // expires later than `paying` would
      await eventually(async () => (await progressOf(unpaid))?.state === 'cancelled', {
        what: 'the unpaid order expires',
      });
      expect((await progressOf(paying))?.state).toBe('paying');
      await payments.behave({});
      expect(await pay(paying)).toBe('paid');
      expect(await progressOf(paying)).toMatchObject({ state: 'confirmed' });
    });

    test('shows its payment in progress, its expiry and its cancel reason, in the list too', async () => {
      const { database } = databases;
      const order = await open();
      const shown = async (orderId: string) => {
        const found = await findOrder(database, orderId);
        const listed = (await listOrders(database, 'alice', undefined, 100)).find(({ id }) => id === orderId);
        expect(listed).toEqual(found);
        return found;
      };
      const paying = await place(order, 3_600);
      expect(await shown(paying)).not.toHaveProperty('payment');
      await payments.behave({ respondLateMs: 60_000 });
      cleanUps.push(() => payments.behave({}));
      expect(await pay(paying)).toBe('unknown');
      const expiresAt = expect.stringMatching(/Z$/);
      expect(await shown(paying)).toMatchObject({ status: 'awaiting-payment', payment: 'in-progress', expiresAt });
      await payments.behave({});
      expect(await pay(paying)).toBe('paid');
      for (const field of ['payment', 'expiresAt', 'cancelReason'])
        expect(await shown(paying)).not.toHaveProperty(field);

      const cancel = createCancelOrder({
        database,
        outbox: new Outbox('sluice_order'),
        resendAfterMs: RESEND_AFTER_MS,
      });
      expect(await cancel(paying, 'changed my mind')).toBe('cancelled');
      expect(await shown(paying)).toMatchObject({ status: 'cancelled', cancelReason: 'changed my mind' });
      const silent = await place(order);
      await cancel(silent, undefined);
      expect(await shown(silent)).not.toHaveProperty('cancelReason');

      const unpaid = await place(order, 1);
      startLoops(order);
      await eventually(async () => (await progressOf(unpaid))?.state === 'cancelled', { what: 'the order expires' });
      expect(await shown(unpaid)).toMatchObject({ status: 'cancelled', cancelReason: 'not paid in time' });
      expect(await shown(unpaid)).not.toHaveProperty('expiresAt');
    });

    describe('at a provider that rejects or does not respond', () => {
      const AGAIN_MS = 2_000;

      /** Settles payments with this provider until the end of the test; returns its log lines about an order. */
      function settleWith(misbehaving: Partial<PaymentProvider>) {
        const lines: { level: number; msg: string; orderId?: string }[] = [];
        const loop = settlePayments({
          database: databases.database,
          outbox: new Outbox('sluice_order'),
          provider: { ...provider, ...misbehaving },
          resendAfterMs: RESEND_AFTER_MS,
          retryAfterMs: AGAIN_MS,
          log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
        });
        loop.start();
        cleanUps.push(() => loop.stop());
        return (orderId: string) => lines.filter((line) => line.orderId === orderId);
      }
      const set = (orderId: string, what: string) =>
        databases.database.execute(`UPDATE sluice_order.progress SET ${what} WHERE order_id = $1`, [orderId]);
      /** Makes the next call due; resolves, after that call, with the delay of the following one in milliseconds. */
      async function delayAfter(orderId: string, column: 'refund_at' | 'charge_again_at', calls: () => number) {
        const before = calls();
        await set(orderId, `${column} = now() - interval '1 ms'`);
        await eventually(() => calls() > before, { what: 'the provider is called' });
        const [row] = await databases.database.query<{ ms: number }>(
          `SELECT extract(epoch FROM ${column} - now())::float8 * 1000 AS ms FROM sluice_order.progress WHERE order_id = $1`,
          [orderId],
        );
        return Number(row?.ms);
      }
      /** Part of the delay has passed by now. */
      const isAbout = (ms: number, expected: number) => {
        expect(ms).toBeLessThanOrEqual(expected);
        expect(ms).toBeGreaterThan(expected / 2);
      };

      async function factOf(service: AnyService, orderId: string): Promise<OrderFact | undefined> {
        return (await auditOf(service, `?ids=${orderId}`, factsPage(orderFact))).items[0];
      }

      test('a rejected refund is retried with a growing delay, shown to the audit, and never dropped', async () => {
        const order = await open();
        const orderId = await place(order, 3_600);
        expect(await pay(orderId)).toBe('paid');
        const outbox = new Outbox('sluice_order');
        const cancel = createCancelOrder({ database: databases.database, outbox, resendAfterMs: RESEND_AFTER_MS });
        await cancel(orderId, undefined);
        await set(orderId, `refund_at = now() + interval '1 hour'`); // no call before the first one that is counted
        let calls = 0;
        let error: Error | undefined = new PaymentUnknown('no response');
        const lines = settleWith({
          cancel: async (id) => {
            if (id !== orderId || !error) return provider.cancel(id);
            calls++;
            throw error;
          },
        });
        const delay = () => delayAfter(orderId, 'refund_at', () => calls);
        await set(orderId, 'refund_attempts = 50');
        isAbout(await delay(), 15_000);
        expect((await factOf(order.service, orderId))?.refundRejected).toBe(false);
        error = new Error('the payment provider rejects DELETE: 403');
        await set(orderId, 'refund_attempts = 0');
        isAbout(await delay(), AGAIN_MS);
        isAbout(await delay(), 2 * AGAIN_MS);
        isAbout(await delay(), 4 * AGAIN_MS);
        isAbout(await delay(), 8 * AGAIN_MS);
        await set(orderId, 'refund_attempts = 50');
        isAbout(await delay(), 3_600_000);
        await eventually(async () => (await factOf(order.service, orderId))?.refundRejected, {
          what: 'the audit shows the rejection',
        });
        expect(await factOf(order.service, orderId)).toMatchObject({
          open: true,
          refundDue: true,
          refundAttempts: 51,
          dueInMs: expect.any(Number),
        });
        const rejections = lines(orderId).filter(({ msg }) => msg.includes('rejects'));
        const ERROR = 50;
        expect(rejections.map(({ level }) => level === ERROR)).toEqual([true, false, false, false, false]);

        error = undefined;
        await set(orderId, 'refund_at = now()');
        await eventually(async () => (await payments.entry(orderId))?.status === 'refunded', {
          what: 'the payment is refunded',
        });
        await eventually(async () => (await factOf(order.service, orderId))?.refundDue === false, {
          what: 'no refund is pending',
        });
        expect(await factOf(order.service, orderId)).toMatchObject({ refundRejected: false });
      });

      test('a payment with an unknown outcome is retried with a growing delay', async () => {
        const order = await open();
        const orderId = await place(order, 3_600);
        await payments.behave({ away: true });
        cleanUps.push(() => payments.behave({}));
        expect(await pay(orderId)).toBe('unknown');
        let calls = 0;
        settleWith({
          charge: async (charge) => {
            if (charge.orderId === orderId) calls++;
            throw new PaymentUnknown('no response');
          },
        });
        const delay = () => delayAfter(orderId, 'charge_again_at', () => calls);
        isAbout(await delay(), 2 * AGAIN_MS);
        isAbout(await delay(), 4 * AGAIN_MS);
        expect(await factOf(order.service, orderId)).toMatchObject({ state: 'paying', chargeRetries: 2 });
        await set(orderId, 'charge_retries = 50');
        isAbout(await delay(), 15_000);

        // A buyer may pay at any time, and a new attempt starts with the first delay.
        await payments.behave({ declineEvery: 1 });
        expect(await pay(orderId)).toBe('declined');
        await payments.behave({ away: true });
        expect(await pay(orderId)).toBe('unknown');
        expect(await factOf(order.service, orderId)).toMatchObject({ state: 'paying', chargeRetries: 0 });
      });
    });

    test('is charged once if the response to the first attempt is lost', async () => {
      const orderId = await place(await open(), 3_600);
      const before = (await payments.entries()).length;
      await payments.behave({ respondLateMs: 60_000 });
      cleanUps.push(() => payments.behave({}));
      expect(await pay(orderId)).toBe('unknown');
      await payments.behave({});
      expect(await pay(orderId)).toBe('paid');
      expect(await payments.entries()).toHaveLength(before + 1);
      expect(await payments.entry(orderId)).toMatchObject({ status: 'charged', amount: 5_900 });
    });
  });
});

describe('flash-sale', () => {
  const schema = schemaOf('flash-sale');
  const MIGRATIONS: readonly [string, URL][] = [
    ['messaging', new URL('../../infra/messaging/migrations/', import.meta.url)],
    ['flash-sale', new URL('../../services/flash-sale/store/migrations/', import.meta.url)],
  ];

  /** Creates a sale with a queued ticket for each of four buyers; returns its id and theirs. */
  async function queue(): Promise<{ saleId: string; ticketIds: string[] }> {
    const { database } = databases;
    const migrations = await Promise.all(MIGRATIONS.map(([set, folder]) => readMigrations(folder, set)));
    await migrate(database, schema, migrations.flat());
    const saleId = uuidv7();
    const request = { sku: 'LAMP', name: 'Lamp', unitPrice: 5_900, currency: 'GBP' };
    const terms = { ...request, stock: 10, queueCap: 10, drainPerSecond: 10 };
    expect(await insertSale(database, saleId, createFlashSaleRequest.parse(terms))).toBe(true);
    const tickets = ['alice', 'bob', 'carol', 'dave'].map((userId) => ({ ticketId: uuidv7(), userId }));
    await admit(database, saleId, tickets);
    return { saleId, ticketIds: tickets.map(({ ticketId }) => ticketId) };
  }
  const newAcceptance = () => {
    const { database } = databases;
    return createTicketAcceptance({ database, outbox: new Outbox(schema), resendAfterMs: RESEND_AFTER_MS, log });
  };

  test('publishes a closed ticket as the reply to a cancellation, and no event without a consumer', async () => {
    const { database } = databases;
    const { saleId, ticketIds } = await queue();
    const [ordered = '', failed = ''] = ticketIds;
    // The drain is not started, so the queues are not used.
    const queues = {} as PacedQueues;
    const { tell, said } = await openAlone(database, 'flash-sale', (context) =>
      flashSaleService({ ...context, queues }),
    );
    const statusOf = async (ticketId: string) =>
      (await findTickets(database, saleId, [ticketId])).get(ticketId)?.ticket.status;
    const saidOf = async (ticketId: string) =>
      (await said(ticketId)).map(({ type, data }) => `${type} ${JSON.parse(data).outcome ?? ''}`.trim());
    const acceptance = newAcceptance();
    await acceptance.accept(ordered);
    const orderId = uuidv7();
    const confirmed = { currency: 'GBP', total: 5_900, itemCount: 1 };
    const about = { orderId, userId: 'alice', ticketId: ordered };
    await tell(eventBody('order.placed', orderId, { ...about, ...confirmed }));
    expect(await statusOf(ordered)).toBe('ordered');
    expect(await saidOf(ordered)).toEqual(['flash-sale.ticket.accepted']);

    await acceptance.onFailed(failed, Object.assign(new Error('value out of range'), { code: '22003' }));
    expect(await statusOf(failed)).toBe('failed');
    expect(await saidOf(failed)).toEqual([]);
    expect((await findSale(database, saleId))?.stock).toMatchObject({ remaining: 7, held: 2, sold: 1 });

    await tell(eventBody('order.cancelled', orderId, { ...about, placed: confirmed }));
    expect(await statusOf(ordered)).toBe('released');
    expect(await saidOf(ordered)).toEqual(['flash-sale.ticket.accepted', 'flash-sale.ticket.closed released']);
  });

  test('a ticket leaves the queue once if its job runs twice', async () => {
    const { database } = databases;
    const { saleId, ticketIds } = await queue();
    const acceptance = newAcceptance();
    const [first = '', ...rest] = ticketIds;

    await Promise.all([acceptance.accept(first), acceptance.accept(first)]);
    await acceptance.accept(first);
    expect((await findSale(database, saleId))?.queue.length).toBe(3);
    const found = await findTickets(database, saleId, rest);
    expect(rest.map((id) => found.get(id)?.ticket.position)).toEqual([1, 2, 3]);
  });
});
