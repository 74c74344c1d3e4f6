// Returned units: when an order is cancelled, its unit is for sale again at once, and the totals balance however often
// the events arrive, and in any order.
import { randomUUID } from 'node:crypto';
import { expect, inject, vi } from 'vitest';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { onEachShape } from '../service/support/each-shape.ts';
import {
  admittedOf,
  Buyers,
  buy,
  countByResult,
  createSale,
  expectBalanced,
  freshUsers,
  over,
  readSale,
  readTicket,
  ticketOf,
  watch,
} from '../service/support/flash-sales.ts';
import { type OrderReference, publishCancelled, publishPlaced } from '../service/support/sale-database.ts';
import { gatewaysOnPostgres, gatewaysOnRedis } from '../service/support/systems.ts';
import { freshUser, placeOrder, postJson } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';
import { isDrained } from './support/checker.ts';
import { count, query } from './support/sql.ts';

// Takes seconds on an idle machine.
vi.setConfig({ testTimeout: 120_000 });

const servers = inject('servers');
const options = {
  shapes: [gatewaysOnPostgres(servers), gatewaysOnRedis(servers)],
  env: { RESEND_AFTER_MS: '3600000' },
};

onEachShape(options, (on) => {
  const onShape = on.test;

  /** Sells out a sale; resolves with the tickets and orders of its buyers. */
  async function sellOut(stock: number): Promise<{ sale: FlashSale; sold: Required<OrderReference>[] }> {
    const sale = await createSale(on.url, { stock, queueCap: 2 * stock, drainPerSecond: 200 });
    const bought = await new Buyers().rush(on.gateways, sale.id, freshUsers(2 * stock));
    expect(countByResult(bought)).toEqual({ 202: stock, '409 sold-out': stock });
    await over(on.url, sale.id);
    const sold = await Promise.all(
      admittedOf(bought).map(async ({ userId, answer }) => {
        const { ticketId } = ticketOf(answer);
        return { ticketId, userId, orderId: String((await readTicket(on.url, sale.id, ticketId)).orderId) };
      }),
    );
    return { sale, sold };
  }

  const released = (saleId: string, count: number) =>
    eventually(
      async () => {
        const sale = await readSale(on.url, saleId);
        expectBalanced(sale);
        return sale.counts.released === count && sale;
      },
      { what: `${count} units are returned`, timeoutMs: 30_000 },
    );

  /** Cancels at the order service, as the buyers would. */
  const cancel = (orders: readonly Pick<OrderReference, 'orderId'>[]) =>
    Promise.all(
      orders.map(async ({ orderId }) => {
        const answer = await postJson(`${on.system.url('order')}/orders/${orderId}/cancel`, {});
        expect(answer.status, answer.text).toBe(200);
      }),
    );

  const handled = () =>
    eventually(() => isDrained(on.databaseUrl), { what: 'everything is handled', timeoutMs: 30_000 });

  onShape('sells a returned unit of a sold-out sale to another buyer within a second', async () => {
    const { sale, sold } = await sellOut(10);
    // Requests without a pause, so that every gateway has a snapshot without units.
    const newcomers = freshUsers(100_000);
    let rejected = 0;
    const buying = Promise.all(
      on.gateways.map(async (gateway, index) => {
        for (let turn = index, rejectedAt = 0; ; turn += on.gateways.length) {
          const sentAt = performance.now();
          const answer = await buy(gateway, sale.id, String(newcomers[turn]));
          if (answer.status === 202) return { rejectedAt };
          if (answer.status === 503) continue; // too busy to decide
          if (answer.status !== 409) throw new Error(`${answer.status} ${answer.text}`);
          rejectedAt = sentAt;
          rejected++;
        }
      }),
    );
    buying.catch(() => undefined);
    await eventually(() => rejected > 5 * on.gateways.length, { what: 'newcomers are rejected' });
    // One unit for each gateway, so that each of them has to notice.
    const cancelled = sold.slice(0, on.gateways.length);
    await cancel(cancelled);
    await released(sale.id, cancelled.length);
    const backAt = performance.now();
    // A request that is sent a second later or more is not rejected, however long its response takes.
    for (const { rejectedAt } of await buying) expect(rejectedAt - backAt).toBeLessThan(1_000);
    const done = await over(on.url, sale.id);
    expect(done).toMatchObject({
      status: 'sold-out',
      stock: { initial: 10, remaining: 0, held: 0, sold: 10 },
      counts: { admitted: 10 + cancelled.length, ordered: 10, released: cancelled.length },
    });
    for (const { ticketId, orderId } of cancelled)
      expect(await readTicket(on.url, sale.id, ticketId)).toEqual({ status: 'released', orderId });
    const [seller, ...others] = cancelled;
    // A buyer whose unit was returned counts as a newcomer, and is too late.
    expect((await buy(on.url, sale.id, String(seller?.userId))).status).toBe(409);
    for (const { userId } of others) expect((await buy(on.url, sale.id, userId)).status).toBe(409);
  });

  onShape('gives a buyer whose unit was returned a new ticket and a new order', async () => {
    const { sale, sold } = await sellOut(1);
    const [first] = sold as [Required<OrderReference>];
    await cancel([first]);
    await released(sale.id, 1);
    const answer = await eventually(
      async () => {
        const given = await buy(on.url, sale.id, first.userId);
        return given.status === 202 && given;
      },
      { what: 'the unit is for sale again' },
    );
    const { ticketId } = ticketOf(answer);
    expect(ticketId).not.toBe(first.ticketId);
    await over(on.url, sale.id);
    const { orderId, status } = await readTicket(on.url, sale.id, ticketId);
    expect(status).toBe('ordered');
    expect(orderId).not.toBe(first.orderId);
    expect((await readSale(on.url, sale.id)).counts).toMatchObject({ admitted: 2, ordered: 1, released: 1 });
  });

  onShape('order.cancelled twice, as the same event and as two, returns the unit once', async () => {
    const { sale, sold } = await sellOut(5);
    const twice = sold.slice(0, 2);
    await cancel(twice);
    const [first] = await query<{ id: string }>(
      on.databaseUrl,
      `SELECT cancelled_event_id AS id FROM sluice_order.progress WHERE order_id = '${twice[0]?.orderId}'`,
    );
    for (let turn = 0; turn < 3; turn++) {
      await publishCancelled(on.databaseUrl, twice.slice(0, 1), () => String(first?.id));
      await publishCancelled(on.databaseUrl, twice);
    }
    await released(sale.id, 2);
    await handled();
    expect(await readSale(on.url, sale.id)).toMatchObject({
      stock: { remaining: 2, held: 0, sold: 3 },
      counts: { admitted: 5, ordered: 3, released: 2 },
    });
  });

  onShape('a repeated order.placed, before or after order.cancelled, sells no unit twice', async () => {
    const { sale, sold } = await sellOut(6);
    await publishPlaced(on.databaseUrl, sold);
    await publishPlaced(on.databaseUrl, sold);
    await cancel(sold.slice(0, 3));
    await released(sale.id, 3);
    await publishPlaced(on.databaseUrl, sold);
    await handled();
    expect(await readSale(on.url, sale.id)).toMatchObject({
      stock: { remaining: 3, held: 0, sold: 3 },
      counts: { admitted: 6, ordered: 3, released: 3 },
    });
    for (const { ticketId } of sold.slice(0, 3))
      expect((await readTicket(on.url, sale.id, ticketId)).status).toBe('released');
  });

  onShape('order.cancelled that arrives before order.placed returns the unit for good', async () => {
    const sale = await createSale(on.url, { stock: 4, queueCap: 10, drainPerSecond: 200 });
    // The events of this sale's orders are held back until the cancellations have arrived.
    await query(
      on.databaseUrl,
      `CREATE TABLE kept (LIKE sluice_order.outbox);
       CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         INSERT INTO public.kept VALUES (NEW.*); RETURN NULL;
       END $$;
       CREATE TRIGGER keep BEFORE INSERT ON sluice_order.outbox FOR EACH ROW
         WHEN (NEW.type = 'order.placed') EXECUTE FUNCTION keep()`,
    );
    const bought = await new Buyers().rush(on.gateways, sale.id, freshUsers(4));
    expect(countByResult(bought)).toEqual({ 202: 4 });
    const kept = await eventually(
      async () => {
        const rows = await query<{ data: string }>(on.databaseUrl, 'SELECT data FROM kept');
        return rows.length === 4 && rows.map(({ data }) => JSON.parse(data) as Required<OrderReference>);
      },
      { what: 'the orders are placed, and their events are held back' },
    );
    expect((await readSale(on.url, sale.id)).stock).toMatchObject({ remaining: 0, held: 4, sold: 0 });
    await cancel(kept.slice(0, 3));
    await released(sale.id, 3);
    expect((await readSale(on.url, sale.id)).stock).toMatchObject({ remaining: 3, held: 1, sold: 0 });
    await query(
      on.databaseUrl,
      `DROP TRIGGER keep ON sluice_order.outbox;
       INSERT INTO sluice_order.outbox (channel, event_id, type, subject, time, data)
       SELECT channel, event_id, type, subject, time, data FROM kept`,
    );
    await over(on.url, sale.id);
    await handled();
    expect(await readSale(on.url, sale.id)).toMatchObject({
      stock: { remaining: 3, held: 0, sold: 1 },
      counts: { admitted: 4, ordered: 1, released: 3 },
    });
    for (const { ticketId } of kept.slice(0, 3))
      expect((await readTicket(on.url, sale.id, ticketId)).status).toBe('released');
  });

  onShape('gives another order.cancelled of the same order the same reply', async () => {
    const { sale, sold } = await sellOut(2);
    await cancel(sold);
    await released(sale.id, 2);
    await handled();
    // As if the replies had never arrived.
    const ids = (key: 'orderId' | 'ticketId') => sold.map((each) => `'${each[key]}'`).join(', ');
    await query(
      on.databaseUrl,
      `UPDATE sluice_order.progress SET stock_release_pending = true WHERE order_id IN (${ids('orderId')});
       DELETE FROM sluice_order.inbox WHERE type = 'flash-sale.ticket.closed' AND subject IN (${ids('ticketId')})`,
    );
    const waiting = () => count(on.databaseUrl, 'sluice_order.progress WHERE stock_release_pending');
    expect(await waiting()).toBe(2);
    await publishCancelled(on.databaseUrl, sold);
    await eventually(async () => (await waiting()) === 0, {
      what: 'the order service knows that the units are returned',
    });
    expect((await readSale(on.url, sale.id)).counts).toMatchObject({ admitted: 2, ordered: 0, released: 2 });
  });

  onShape('cancellations of orders without a ticket, or with an unknown ticket, change nothing', async () => {
    const { sale } = await sellOut(2);
    const unknown = { ticketId: randomUUID(), orderId: randomUUID(), userId: freshUser() };
    await publishCancelled(on.databaseUrl, [unknown]);
    const { id: orderId } = await placeOrder(on.system.url('order'), freshUser());
    await cancel([{ orderId }]);
    await handled();
    expect((await readSale(on.url, sale.id)).stock).toMatchObject({ remaining: 0, held: 0, sold: 2 });
  });

  onShape('the totals balance while units are sold and returned under load', async () => {
    const sale = await createSale(on.url, { stock: 20, queueCap: 10, drainPerSecond: 200 });
    const watching = watch(on.gateways, sale.id);
    const newcomers = freshUsers(100_000);
    let turn = 0;
    let cancelled = 0;
    const client = async (gateway: string) => {
      while (cancelled < 60) {
        const userId = String(newcomers[turn++]);
        const answer = await buy(gateway, sale.id, userId);
        if (answer.status !== 202) continue;
        const { ticketId } = ticketOf(answer);
        // Every other buyer cancels.
        if (turn % 2 === 0) continue;
        const { orderId } = await eventually(
          async () => {
            const ticket = await readTicket(gateway, sale.id, ticketId);
            return ticket.orderId !== undefined && ticket;
          },
          { what: 'the ticket is ordered' },
        );
        await cancel([{ orderId: String(orderId) }]);
        cancelled++;
      }
    };
    const clients = Promise.all([...on.gateways, ...on.gateways].map(client));
    // Buyers that keep their units use up the stock: then every unit that was not returned is sold.
    const soldOut = eventually(
      async () => {
        const { stock } = await readSale(on.url, sale.id);
        return stock.sold === stock.initial;
      },
      { what: 'all units are kept', timeoutMs: 60_000 },
    );
    soldOut.catch(() => undefined);
    await Promise.race([clients, soldOut]);
    cancelled = Number.POSITIVE_INFINITY;
    await clients;
    await handled();
    await watching.stop();
    const done = await over(on.url, sale.id);
    expect(done.counts.released).toBeGreaterThan(5);
    const [row] = await query<{ orders: number; keepers: number }>(
      on.databaseUrl,
      `SELECT count(*)::int AS orders, (count(DISTINCT user_id) FILTER (WHERE t.status = 'ordered'))::int AS keepers
       FROM sluice_flash_sale.tickets t JOIN sluice_order.orders o USING (user_id) WHERE t.sale_id = '${sale.id}'`,
    );
    expect(row).toEqual({ orders: done.counts.admitted, keepers: done.stock.sold });
  });
});
