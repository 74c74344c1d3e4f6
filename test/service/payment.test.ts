// Orders that await payment: paid, declined, not paid in time, cancelled, and paid at a provider that is slow,
// unreachable or late. None is paid and expired, and none is charged twice, by the provider's own ledger.
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { call, completed, freshUser, get, jsonRequest, placeOrder, readOrder } from '../setup/api.ts';
import { type PaymentsInside, startPaymentsInside } from '../setup/payments.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually, gate } from '../setup/wait.ts';
import { asBrowser, buy, createSale, over, readSale, readTicket, ticketOf } from './support/flash-sales.ts';
import { embedded, type Shape, type System, separateProcesses } from './support/systems.ts';

const servers = inject('servers');
const shapes = [embedded, separateProcesses(servers)].map((shape) => [shape.name, shape] as [string, Shape]);
/** Long enough for a response on a busy machine, short enough for tests that wait for it. */
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

  const read = (id: string) => readOrder(orders, id);
  /** The items of this kind in the history of an order, or of a ticket's order. */
  const historyOf = async (id: string, ofKind: string) =>
    (await get(`${orders}/orders/${id}/history`, schemas.orderHistory)).items.filter(({ kind }) => kind === ofKind);
  const pay = (id: string, url = orders) => call(`${url}/orders/${id}/pay`, { method: 'POST' });

  /** Buys a unit, and resolves when its order awaits payment. */
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
      { what: 'the ticket awaits payment' },
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

  onShape('an order that awaits payment holds its unit and has no effects; once paid, it is completed', async () => {
    const sale = await heldFor(LONG);
    const { id, ticketId, userId } = await held(sale);
    const waiting = await read(id);
    expect(waiting).toMatchObject({ id, status: 'awaiting-payment', total: 5_900 });
    expect(Date.parse(String(waiting.expiresAt)) - Date.parse(waiting.createdAt)).toBe(LONG * 1_000);
    expect((await readSale(gateway, sale.id)).stock).toMatchObject({ remaining: 0, held: 1, sold: 0 });
    expect(await get(`${system.url('points')}/users/${userId}/points`, schemas.pointsPage)).toMatchObject({
      items: [],
    });

    const paid = await pay(id);
    expect(paid.status).toBe(200);
    // The effects may exist before the response is sent.
    expect(['placed', 'completed']).toContain(paid.json(schemas.order).status);
    expect(paid.json(schemas.order).expiresAt).toBeUndefined();
    const done = await completed(orders, id);
    expect(done.steps.points).toMatchObject({ status: 'done', detail: '59 points' });
    expect((await over(gateway, sale.id)).stock).toMatchObject({ sold: 1 });
    expect((await readTicket(gateway, sale.id, ticketId)).status).toBe('ordered');

    const again = await pay(id);
    expect([again.status, again.json(schemas.order)]).toEqual([200, done]);
    expect(await payments.entry(id)).toMatchObject({ status: 'charged', amount: 5_900, currency: 'GBP' });
  });

  onShape('a browser pays by a form, and the page of its ticket says what becomes of the payment', async () => {
    const sale = await heldFor(LONG);
    const { id, ticketId } = await held(sale);
    const returnTo = `/flash-sales/${sale.id}/purchases/${ticketId}`;
    const page = await call(`${gateway}${returnTo}`, { headers: asBrowser });
    expect(page.text).toContain(`<form id="pay" method="post" action="/orders/${id}/pay" >`);
    expect(page.text).toContain(`<input type="hidden" name="returnTo" value="${returnTo}">`);
    expect(page.text).toContain('<button>Pay 59.00 GBP</button>');

    const payByForm = (fields: Readonly<Record<string, string>>) =>
      call(`${orders}/orders/${id}/pay`, {
        method: 'POST',
        headers: { ...asBrowser, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(fields).toString(),
      });
    const outcomes = [
      [{ declineEvery: 1 }, 'declined', 'The payment was declined, and nothing was charged. You can try again.'],
      [{ away: true }, 'in-progress', 'Your payment is in progress'],
      [{}, 'paid', undefined],
    ] as const;
    for (const [behaviour, outcome, message] of outcomes) {
      await payments.behave(behaviour);
      const answer = await payByForm({ returnTo });
      expect([answer.status, answer.headers.location]).toEqual([303, `${returnTo}?payment=${outcome}`]);
      const shown = await call(`${gateway}${answer.headers.location}`, { headers: asBrowser });
      expect(shown.status).toBe(200);
      if (message) expect(shown.text).toContain(message);
    }
    await completed(orders, id);
    await over(gateway, sale.id);
    // A program that follows a link with an outcome that it does not know gets the ticket, too.
    expect((await call(`${gateway}${returnTo}?payment=unheard-of`)).status).toBe(200);
    // The link of an outcome still shows the ticket as it is.
    const last = await call(`${gateway}${returnTo}?payment=declined`, { headers: asBrowser });
    expect(last.text).toContain('<h1 id="title">Ordered</h1>');
    expect(last.text).toMatch(/<p id="payment" hidden>/);
    expect((await payments.entries()).filter(({ orderId }) => orderId === id)).toMatchObject([{ status: 'charged' }]);

    for (const elsewhere of ['https://evil.example/', '//evil.example', `${returnTo}/../..`, '/orders'])
      expect((await payByForm({ returnTo: elsewhere })).status).toBe(422);
    // A program gets the order, and a problem if there is nothing to pay.
    const again = await call(`${orders}/orders/${id}/pay`, jsonRequest({ returnTo }));
    expect(again.json(schemas.order).id).toBe(id);
  });

  onShape('a declined payment charges nothing, and can be tried again', async () => {
    const { id } = await held(await heldFor(LONG));
    await payments.behave({ declineEvery: 1 });
    for (let attempt = 0; attempt < 2; attempt++) {
      const answer = await pay(id);
      expect([answer.status, answer.json(schemas.problem).type]).toEqual([402, '/problems/payment-declined']);
    }
    expect((await read(id)).status).toBe('awaiting-payment');
    expect(await payments.entry(id)).toBeUndefined();
    await payments.behave({});
    expect((await pay(id)).status).toBe(200);
    await completed(orders, id);
    expect(await historyOf(id, 'payment')).toMatchObject([
      { attempt: 1, detail: 'declined' },
      { attempt: 2, detail: 'declined' },
      { attempt: 3, detail: 'approved' },
    ]);
  });

  onShape('the history of an order has its ticket and its payment, also by the id of the ticket', async () => {
    const { id, ticketId } = await held(await heldFor(LONG));
    expect((await pay(id)).status).toBe(200);
    await completed(orders, id);
    await eventually(async () => (await historyOf(ticketId, 'ticket')).length === 1, { what: 'the ticket is ordered' });
    const history = await get(`${orders}/orders/${ticketId}/history`, schemas.orderHistory);
    expect(history).toMatchObject({ orderId: id, ticketId, missing: [], pruned: [] });
    const shown = history.items.map(({ service, kind, type, detail }) => `${service} ${kind} ${type ?? detail}`);
    const expected = [
      expect.stringMatching(/^flash-sale admitted with number 1 to the sale /),
      'flash-sale written flash-sale.ticket.accepted',
      'order handled flash-sale.ticket.accepted',
      `order accepted for the ticket ${ticketId}`,
      'order written order.awaiting-payment',
      'flash-sale handled order.awaiting-payment',
      'order payment approved',
      'order written order.placed',
      'flash-sale handled order.placed',
      'flash-sale ticket ordered',
      'points written points.awarded',
      'order handled points.awarded',
    ];
    expect(shown).toEqual(expect.arrayContaining(expected));
    const places = expected.slice(1, 9).map((line) => shown.indexOf(line));
    expect(places, shown.join('\n')).toEqual([...places].sort((a, b) => a - b));
  });

  onShape('an order whose payment the provider rejects still awaits payment, and can be cancelled', async () => {
    const sale = await heldFor(LONG);
    const { id } = await held(sale);
    // The key is charged with another amount already, so the provider rejects the order's.
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
      what: 'the stock is released',
    });
    // The charge under the order's key is refunded.
    await eventually(async () => (await payments.entry(id))?.status === 'refunded', {
      what: 'the charge is refunded',
    });
    expect(await historyOf(id, 'payment')).toMatchObject([
      { attempt: 1, detail: expect.stringMatching(/^rejected: /) },
    ]);
    await eventually(async () => (await historyOf(id, 'refund'))[0]?.detail === 'confirmed since', {
      what: 'the refund is confirmed',
    });
  });

  onShape(
    'an order that is not paid in time is cancelled, releases its stock, and cannot be paid any more',
    async () => {
      const sale = await heldFor(1);
      const { id, ticketId, userId } = await held(sale);
      const order = await isCancelled(id);
      expect(order.expiresAt).toBeUndefined();
      expect(order.cancelReason).toBe('not paid in time');
      await eventually(async () => (await readSale(gateway, sale.id)).stock.remaining === 1, {
        what: 'the stock is released',
      });
      expect((await readTicket(gateway, sale.id, ticketId)).status).toBe('released');
      const answer = await pay(id);
      expect([answer.status, answer.json(schemas.problem).type]).toEqual([409, '/problems/not-payable']);
      expect(await payments.entry(id)).toBeUndefined();
      // Every service replies, and none has an effect to reverse.
      await eventually(async () => Object.values((await read(id)).steps).every(({ status }) => status === 'reverted'), {
        what: 'every service has replied',
      });
      const points = await get(`${system.url('points')}/users/${userId}/points`, schemas.pointsPage);
      expect(points).toMatchObject({ balance: 0, items: [{ kind: 'revoke', points: 0 }] });
    },
  );

  onShape('twenty concurrent payments, over all processes, are one charge', async () => {
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

  onShape('an order whose charge is approved after the timeout does not expire, and is paid', async () => {
    const sale = await heldFor(2);
    const { id } = await held(sale);
    await payments.behave({ respondLateMs: 60_000 });
    const answer = await pay(id);
    expect(answer.status).toBe(503);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(await payments.entry(id)).toMatchObject({ status: 'charged' });
    // After the time to pay, the order still waits for the provider.
    await eventually(async () => Date.parse(String((await read(id)).expiresAt)) < Date.now() - 1_500, {
      what: 'the time to pay is over, and a sweep has run',
    });
    expect((await read(id)).status).toBe('awaiting-payment');
    await payments.behave({});
    await completed(orders, id);
    expect((await over(gateway, sale.id)).stock).toMatchObject({ remaining: 0, sold: 1 });
    expect(await payments.entry(id)).toMatchObject({ status: 'charged' });
  });

  onShape('an order whose charge is declined after the timeout expires then, not before', async () => {
    const sale = await heldFor(2);
    const { id } = await held(sale);
    await payments.behave({ decideLateMs: 6_000 });
    expect((await pay(id)).status).toBe(503);
    await eventually(async () => Date.parse(String((await read(id)).expiresAt)) < Date.now() - 1_500, {
      what: 'the time to pay is over, and a sweep has run',
    });
    expect((await read(id)).status).toBe('awaiting-payment');
    await payments.behave({ declineEvery: 1 });
    await isCancelled(id);
    await over(gateway, sale.id);
    expect((await readSale(gateway, sale.id)).stock).toMatchObject({ remaining: 1, held: 0, sold: 0 });
    // A charge was attempted, so the key is cancelled at the provider.
    await eventually(async () => (await payments.entry(id))?.status === 'cancelled', { what: 'the key is cancelled' });
  });

  onShape('a payment that was begun while the provider is unreachable is settled once it is back', async () => {
    const { id } = await held(await heldFor(LONG));
    await payments.behave({ away: true });
    expect((await pay(id)).status).toBe(503);
    expect(await read(id)).toMatchObject({ status: 'awaiting-payment', payment: 'in-progress' });
    const cancelling = await call(`${orders}/orders/${id}/cancel`, { method: 'POST' });
    expect([cancelling.status, cancelling.json(schemas.problem).type]).toEqual([409, '/problems/payment-under-way']);
    await payments.behave({});
    await completed(orders, id);
    expect(await payments.entry(id)).toMatchObject({ status: 'charged' });
  });

  onShape('the charge of a paid order that is cancelled is refunded', async () => {
    const sale = await heldFor(LONG);
    const { id } = await held(sale);
    expect((await pay(id)).status).toBe(200);
    await payments.behave({ away: true });
    expect((await call(`${orders}/orders/${id}/cancel`, { method: 'POST' })).status).toBe(200);
    await eventually(async () => (await readSale(gateway, sale.id)).stock.remaining === 1, {
      what: 'the stock is released',
    });
    expect(await payments.entry(id)).toMatchObject({ status: 'charged' });
    await payments.behave({});
    await eventually(async () => (await payments.entry(id))?.status === 'refunded', {
      what: 'the charge is refunded',
      timeoutMs: 20_000,
    });
  });

  onShape('an order that awaits payment can be cancelled, and cannot be paid afterwards', async () => {
    const sale = await heldFor(LONG);
    const { id } = await held(sale);
    expect((await call(`${orders}/orders/${id}/cancel`, { method: 'POST' })).status).toBe(200);
    expect((await pay(id)).status).toBe(409);
    await eventually(async () => (await readSale(gateway, sale.id)).stock.remaining === 1, {
      what: 'the stock is released',
    });
    expect(await payments.entry(id)).toBeUndefined();
  });

  onShape('an order of the shop and an unknown order cannot be paid', async () => {
    const { id } = await placeOrder(orders, freshUser());
    expect((await pay(id)).status).toBe(409);
    expect((await pay(randomUUID())).status).toBe(404);
    expect((await pay('none')).status).toBe(404);
  });

  onShape(
    'payments around the end of the time to pay leave orders paid and sold, or expired and released',
    async () => {
      const stock = 40;
      const holdSeconds = 2;
      const sale = await createSale(gateway, { stock, holdSeconds, queueCap: stock, drainPerSecond: 200 });
      await payments.behave({ delayMs: 20 });
      const tickets = await Promise.all(Array.from({ length: stock }, () => held(sale)));
      const answers = await Promise.all(
        tickets.map(async ({ id }, index) => {
          // On a busy machine some orders have expired by now, and no longer have expiresAt.
          const expiresAt = Date.parse((await read(id)).createdAt) + holdSeconds * 1_000;
          // Spread over 1.5 s around the end.
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
