// Orders that wait for payment: paid, declined, not paid in time, cancelled, and paid at a provider that is slow, away or
// answers late. Never paid and expired, never charged twice: judged by the provider's own ledger.
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import type { Order } from '../../contracts/orders.ts';
import type { PointsPage } from '../../contracts/users.ts';
import { type PaymentsInside, startPaymentsInside } from '../setup/payments.ts';
import { eventually, gate } from '../setup/wait.ts';
import { call, completed, freshUser, get, placeOrder } from './support/api.ts';
import { buy, createSale, over, readSale, readTicket, ticketOf } from './support/flash-sales.ts';
import { embedded, type Shape, type System, separateProcesses } from './support/systems.ts';

const servers = inject('servers');
const shapes = [embedded, separateProcesses(servers)].map((shape) => [shape.name, shape] as [string, Shape]);
/** Long enough for an answer on a busy machine, short enough to be waited for. */
const PAYMENT_TIMEOUT_MS = 1_000;
const LONG = 3_600;

describe.for(shapes)('%s', ([, shape]) => {
  const onShape = test.skipIf(!shape.available);

  let payments: PaymentsInside;
  let system: System;
  let orders: string;
  let gateway: string;
  beforeAll(async () => {
    if (!shape.available) return;
    payments = await startPaymentsInside();
    system = await shape.start({
      PAYMENT_URL: payments.url,
      PAYMENT_TIMEOUT_MS: String(PAYMENT_TIMEOUT_MS),
      RESEND_AFTER_MS: '1000',
    });
    orders = system.url('order');
    gateway = system.url('flash-sale');
  });
  afterEach(() => payments?.behave({}));
  afterAll(async () => {
    await system?.remove();
    await payments?.stop();
  });

  const read = (id: string) => get<Order>(`${orders}/orders/${id}`);
  const pay = (id: string, url = orders) => call(`${url}/orders/${id}/pay`, { method: 'POST' });

  /** Buys one, and waits until it waits for payment. */
  async function held(
    sale: FlashSale,
    userId = freshUser(),
  ): Promise<{ id: string; ticketId: string; userId: string }> {
    const { ticketId } = ticketOf(await buy(gateway, sale.id, userId));
    const { orderId } = await eventually(
      async () => {
        const ticket = await readTicket(gateway, sale.id, ticketId);
        return ticket.status === 'awaiting-payment' && ticket;
      },
      { what: 'the ticket waits for payment' },
    );
    return { id: String(orderId), ticketId, userId };
  }
  const heldFor = (holdSeconds: number, stock = 1) => createSale(gateway, { stock, holdSeconds, queueCap: 10 });
  const isCancelled = (id: string) =>
    eventually(
      async () => {
        const order = await read(id);
        return order.status === 'cancelled' && order;
      },
      { what: `order ${id} is cancelled`, timeoutMs: 20_000 },
    );

  onShape('an order waits, its unit held, has no effects; once it is paid it is firm, and completed', async () => {
    const sale = await heldFor(LONG);
    const { id, ticketId, userId } = await held(sale);
    const waiting = await read(id);
    expect(waiting).toMatchObject({ id, status: 'awaiting-payment', total: 5_900 });
    expect(Date.parse(String(waiting.expiresAt)) - Date.parse(waiting.createdAt)).toBe(LONG * 1_000);
    expect((await readSale(gateway, sale.id)).stock).toMatchObject({ remaining: 0, held: 1, sold: 0 });
    expect(await get<PointsPage>(`${system.url('points')}/users/${userId}/points`)).toMatchObject({ items: [] });

    const paid = await pay(id);
    expect(paid.status).toBe(200);
    // Its effects may be there before the answer is.
    expect(['placed', 'completed']).toContain(paid.json<Order>().status);
    expect(paid.json<Order>().expiresAt).toBeUndefined();
    const done = await completed(orders, id);
    expect(done.steps.points).toMatchObject({ status: 'done', detail: '59 points' });
    expect((await over(gateway, sale.id)).stock).toMatchObject({ sold: 1 });
    expect((await readTicket(gateway, sale.id, ticketId)).status).toBe('ordered');

    const again = await pay(id);
    expect([again.status, again.json<Order>()]).toEqual([200, done]);
    expect(await payments.entry(id)).toMatchObject({ status: 'charged', amount: 5_900, currency: 'GBP' });
  });

  onShape('a payment that is declined charges nothing, and may be tried again', async () => {
    const { id } = await held(await heldFor(LONG));
    await payments.behave({ declineEvery: 1 });
    for (let attempt = 0; attempt < 2; attempt++) {
      const answer = await pay(id);
      expect([answer.status, answer.json<{ type: string }>().type]).toEqual([402, '/problems/payment-declined']);
    }
    expect((await read(id)).status).toBe('awaiting-payment');
    expect(await payments.entry(id)).toBeUndefined();
    await payments.behave({});
    expect((await pay(id)).status).toBe(200);
    await completed(orders, id);
  });

  onShape('a payment that the provider does not take leaves the order waiting: it can be cancelled', async () => {
    const sale = await heldFor(LONG);
    const { id } = await held(sale);
    // Under this key there is another amount already, so that it rejects ours.
    const other = await call(`${payments.url}/charges/${id}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ amount: 1, currency: 'GBP' }),
    });
    expect(other.status).toBe(200);
    const rejected = await pay(id);
    expect([rejected.status, Number(rejected.headers['retry-after']) > 0]).toEqual([503, true]);
    expect((await read(id)).status).toBe('awaiting-payment');
    expect((await call(`${orders}/orders/${id}/cancel`, { method: 'POST' })).status).toBe(200);
    await eventually(async () => (await readSale(gateway, sale.id)).stock.remaining === 1, {
      what: 'the unit is back',
    });
    // Whatever was charged under the order's key is given back.
    await eventually(async () => (await payments.entry(id))?.status === 'returned', {
      what: 'the money is given back',
    });
  });

  onShape('who does not pay in time gets nothing, the unit is free again, and it is too late to pay', async () => {
    const sale = await heldFor(1);
    const { id, ticketId, userId } = await held(sale);
    const order = await isCancelled(id);
    expect(order.expiresAt).toBeUndefined();
    expect(order.cancelReason).toBe('not paid in time');
    await eventually(async () => (await readSale(gateway, sale.id)).stock.remaining === 1, {
      what: 'the unit is back',
    });
    expect((await readTicket(gateway, sale.id, ticketId)).status).toBe('released');
    const answer = await pay(id);
    expect([answer.status, answer.json<{ type: string }>().type]).toEqual([409, '/problems/not-payable']);
    expect(await payments.entry(id)).toBeUndefined();
    // Every service is told, and none has an effect to undo.
    await eventually(async () => Object.values((await read(id)).steps).every(({ status }) => status === 'reverted'), {
      what: 'every service has answered',
    });
    const points = await get<PointsPage>(`${system.url('points')}/users/${userId}/points`);
    expect(points).toMatchObject({ balance: 0, items: [{ kind: 'revoke', points: 0 }] });
  });

  onShape('twenty payments at once, over all processes, are one charge', async () => {
    const { id } = await held(await heldFor(LONG));
    await payments.behave({ delayMs: 200 });
    const together = gate(20);
    const processes = system.processes('order');
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        await together();
        return pay(id, processes[index % processes.length]?.url);
      }),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
    expect((await payments.entries()).filter(({ orderId }) => orderId === id)).toMatchObject([{ status: 'charged' }]);
  });

  onShape(
    'a provider that answers too late: nobody knows at first, the order does not expire, and it is paid',
    async () => {
      const sale = await heldFor(2);
      const { id } = await held(sale);
      await payments.behave({ answerLateMs: 60_000 });
      const answer = await pay(id);
      expect(answer.status).toBe(503);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
      expect(await payments.entry(id)).toMatchObject({ status: 'charged' });
      // Past the time to pay it still waits for the provider.
      await eventually(async () => Date.parse(String((await read(id)).expiresAt)) < Date.now() - 1_500, {
        what: 'the time to pay is over, and the sweep has come by',
      });
      expect((await read(id)).status).toBe('awaiting-payment');
      await payments.behave({});
      await completed(orders, id);
      expect((await over(gateway, sale.id)).stock).toMatchObject({ remaining: 0, sold: 1 });
      expect(await payments.entry(id)).toMatchObject({ status: 'charged' });
    },
  );

  onShape('a provider that decides late to decline: the order expires after that, not before', async () => {
    const sale = await heldFor(2);
    const { id } = await held(sale);
    await payments.behave({ decideLateMs: 6_000 });
    expect((await pay(id)).status).toBe(503);
    await eventually(async () => Date.parse(String((await read(id)).expiresAt)) < Date.now() - 1_500, {
      what: 'the time to pay is over, and the sweep has come by',
    });
    expect((await read(id)).status).toBe('awaiting-payment');
    await payments.behave({ declineEvery: 1 });
    await isCancelled(id);
    await over(gateway, sale.id);
    expect((await readSale(gateway, sale.id)).stock).toMatchObject({ remaining: 1, held: 0, sold: 0 });
    // A payment was tried, so the provider was told that the order is over.
    await eventually(async () => (await payments.entry(id))?.status === 'cancelled', { what: 'the provider knows' });
  });

  onShape('while the provider is away nobody pays, and a payment begun is settled once it is back', async () => {
    const { id } = await held(await heldFor(LONG));
    await payments.behave({ away: true });
    expect((await pay(id)).status).toBe(503);
    expect(await read(id)).toMatchObject({ status: 'awaiting-payment', payment: 'in-progress' });
    const cancelling = await call(`${orders}/orders/${id}/cancel`, { method: 'POST' });
    expect([cancelling.status, cancelling.json<{ type: string }>().type]).toEqual([409, '/problems/payment-under-way']);
    await payments.behave({});
    await completed(orders, id);
    expect(await payments.entry(id)).toMatchObject({ status: 'charged' });
  });

  onShape('an order that was paid and is cancelled is given back once', async () => {
    const sale = await heldFor(LONG);
    const { id } = await held(sale);
    expect((await pay(id)).status).toBe(200);
    await payments.behave({ away: true });
    expect((await call(`${orders}/orders/${id}/cancel`, { method: 'POST' })).status).toBe(200);
    await eventually(async () => (await readSale(gateway, sale.id)).stock.remaining === 1, {
      what: 'the unit is back',
    });
    expect(await payments.entry(id)).toMatchObject({ status: 'charged' });
    await payments.behave({});
    await eventually(async () => (await payments.entry(id))?.status === 'returned', {
      what: 'the money is given back',
      timeoutMs: 20_000,
    });
  });

  onShape('an order that waits can be cancelled, and then not be paid', async () => {
    const sale = await heldFor(LONG);
    const { id } = await held(sale);
    expect((await call(`${orders}/orders/${id}/cancel`, { method: 'POST' })).status).toBe(200);
    expect((await pay(id)).status).toBe(409);
    await eventually(async () => (await readSale(gateway, sale.id)).stock.remaining === 1, {
      what: 'the unit is back',
    });
    expect(await payments.entry(id)).toBeUndefined();
  });

  onShape('there is nothing to pay for an order of the shop, and none that does not exist', async () => {
    const { id } = await placeOrder(orders, freshUser());
    expect((await pay(id)).status).toBe(409);
    expect((await pay(randomUUID())).status).toBe(404);
    expect((await pay('none')).status).toBe(404);
  });

  onShape(
    'payments and the end of the time to pay at the same moment: paid and sold, or expired and free',
    async () => {
      const stock = 40;
      const holdSeconds = 2;
      const sale = await createSale(gateway, { stock, holdSeconds, queueCap: stock, drainPerSecond: 200 });
      await payments.behave({ delayMs: 20 });
      const tickets = await Promise.all(Array.from({ length: stock }, () => held(sale)));
      const answers = await Promise.all(
        tickets.map(async ({ id }, index) => {
          // On a busy machine some have expired by now, and no longer say when.
          const expiresAt = Date.parse((await read(id)).createdAt) + holdSeconds * 1_000;
          // Around the very end, spread over a second and a half.
          const at = expiresAt - 750 + (index / stock) * 1_500;
          await eventually(() => Date.now() >= at, { what: 'its moment' });
          return { id, status: (await pay(id)).status };
        }),
      );
      await over(gateway, sale.id);
      let paid = 0;
      for (const { id, status } of answers) {
        expect([200, 409]).toContain(status);
        const order = await eventually(
          async () => {
            const seen = await read(id);
            return ['completed', 'cancelled'].includes(seen.status) && seen;
          },
          { what: 'the order is at its end' },
        );
        expect(order.status).toBe(status === 200 ? 'completed' : 'cancelled');
        expect((await payments.entry(id))?.status).toBe(status === 200 ? 'charged' : undefined);
        if (status === 200) paid++;
      }
      expect((await readSale(gateway, sale.id)).stock).toEqual({
        initial: stock,
        remaining: stock - paid,
        held: 0,
        sold: paid,
      });
    },
  );
});
