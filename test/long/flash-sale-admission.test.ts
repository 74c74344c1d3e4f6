// I4 and I5: the responses to a crowd that arrives all at once, and the stored result. No buyer is admitted beyond the
// cap or the stock, none twice, and every admitted buyer gets an order like any other.
import { expect, inject, vi } from 'vitest';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { checkInvariants, isDrained } from '../fault/support/checker.ts';
import { keepJournal } from '../fault/support/sale-journal.ts';
import { onEachShape } from '../service/support/each-shape.ts';
import {
  admittedOf,
  Buyers,
  countByResult,
  createSale,
  freshUsers,
  over,
  readSale,
  readTicket,
  ticketOf,
  watch,
} from '../service/support/flash-sales.ts';
import { blockDrain, deadlocks } from '../service/support/sale-database.ts';
import { storedSales } from '../service/support/stored-sales.ts';
import { embedded, gatewaysOnPostgres, gatewaysOnRedis, type System } from '../service/support/systems.ts';
import { completed } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';

const CAP = 40;
// Takes seconds on an idle machine.
vi.setConfig({ testTimeout: 120_000 });

/** The greatest age of a gateway's snapshot, so that every gateway knows what happened before. */
const KNOWN_AFTER_MS = 1_000;

const servers = inject('servers');
const shapes = [embedded, gatewaysOnPostgres(servers), gatewaysOnRedis(servers)];

const prepare = async ({ databaseUrl }: System) => {
  if (databaseUrl) await keepJournal(databaseUrl);
};

onEachShape({ shapes, prepare }, (on) => {
  const onShape = on.test;
  const onSeparate = on.shape.separate ? onShape : () => {};
  const buyers = new Buyers();
  const sales: string[] = [];
  const newSale = async (changes: object) => {
    const sale = await createSale(on.url, changes);
    sales.push(sale.id);
    return sale;
  };
  /** No process crashes here, so every rejection is counted soon. */
  const rejectionsCounted = (saleId: string, rejected: FlashSale['counts']['rejected']) =>
    eventually(
      async () => {
        expect((await readSale(on.url, saleId)).counts.rejected).toEqual(rejected);
        return true;
      },
      { what: 'every rejection is counted' },
    );

  /** The gateways in turn. */
  const nextGateway = (index: number) => on.gateways[index % on.gateways.length] as string;

  onShape('fills the queue exactly to its cap when ten times as many buyers arrive at once', async () => {
    const sale = await newSale({ stock: 1_000, queueCap: CAP, drainPerSecond: 10 });
    const watching = watch(on.gateways, sale.id);
    const bought = await buyers.rush(on.gateways, sale.id, freshUsers(10 * CAP));
    const after = await readSale(on.url, sale.id);
    const admitted = admittedOf(bought);
    const left = after.counts.admitted - after.queue.length;
    expect(admitted.length).toBe(after.counts.admitted);
    expect(admitted.length).toBeGreaterThanOrEqual(CAP);
    // A place is free again only after its ticket has left the queue.
    expect(admitted.length).toBeLessThanOrEqual(CAP + left);
    expect(countByResult(bought)).toEqual({ 202: admitted.length, '429 queue-full': 10 * CAP - admitted.length });

    const done = await over(on.url, sale.id);
    expect(await watching.stop()).toBeGreaterThan(0); // the exact length is checked by the journal at the end
    expect(done.counts).toMatchObject({ admitted: admitted.length, ordered: admitted.length, released: 0 });
    const orders = new Set<string>();
    for (const { answer } of admitted) {
      const ticket = await readTicket(on.url, sale.id, ticketOf(answer).ticketId);
      expect(ticket).toEqual({ status: 'ordered', orderId: expect.any(String) });
      orders.add(String(ticket.orderId));
    }
    expect(orders.size).toBe(admitted.length);
    for (const id of orders) {
      const order = await completed(on.system.url('order'), id);
      expect(order).toMatchObject({ total: 5_900, items: [{ sku: 'LAMP', quantity: 1, unitPrice: 5_900 }] });
      expect(order.steps).toMatchObject({ points: { detail: '59 points' }, coupon: { detail: '2.95 GBP' } });
    }
  });

  onSeparate('admits exactly the cap, with exact positions, while no ticket leaves the queue', async () => {
    const { databaseUrl } = on;
    const sale = await newSale({ stock: 1_000, queueCap: CAP, drainPerSecond: 200 });
    const release = await blockDrain(databaseUrl);
    try {
      const users = freshUsers(2 * CAP);
      // Every user five times, each time at another gateway.
      const bought = await buyers.rush(on.gateways, sale.id, Array.from({ length: 5 }, () => users).flat());
      const admitted = admittedOf(bought);
      expect(admitted.length).toBe(CAP);
      const byUser = new Map(admitted.map(({ userId, answer }) => [userId, ticketOf(answer).ticketId]));
      expect(byUser.size).toBe(CAP);
      const positions = admitted.map(({ answer }) => ticketOf(answer).position);
      expect(positions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: CAP }, (_, index) => index + 1));
      // Other requests of an admitted buyer return the same ticket, unless nothing was decided yet.
      for (const { userId, answer } of bought.filter(({ answer }) => answer.status === 200)) {
        expect(ticketOf(answer).ticketId).toBe(byUser.get(userId));
      }
      // At the same moment, another gateway may not know the ticket yet; a test below gives it a second.
      const rejected = bought.filter(({ answer }) => answer.status === 429);
      expect(countByResult(rejected)).toEqual({ '429 queue-full': rejected.length });

      const stored = (await storedSales({ databaseUrl })).get(sale.id);
      const numbers = new Map(stored?.tickets.map(({ id, number }) => [id, number]));
      for (const { answer } of admitted) {
        const { ticketId, position } = ticketOf(answer);
        expect(numbers.get(ticketId)).toBe(position);
        expect(await readTicket(on.url, sale.id, ticketId)).toEqual({ status: 'queued', position });
      }
      expect(await readSale(on.url, sale.id)).toMatchObject({
        queue: { length: CAP, cap: CAP },
        stock: { remaining: 1_000 - CAP, held: CAP, sold: 0 },
      });
    } finally {
      await release();
    }
    expect((await over(on.url, sale.id)).counts).toMatchObject({ admitted: CAP, ordered: CAP });
  });

  onShape('gives a buyer one ticket for five requests at once, even after it is ordered', async () => {
    const users = freshUsers(30);
    const fiveTimes = users.flatMap((user) => Array.from({ length: 5 }, () => user));
    const sale = await newSale({ stock: 100, queueCap: 100, drainPerSecond: 100 });
    const bought = await buyers.rush(on.gateways, sale.id, fiveTimes);
    expect(countByResult(bought)).toEqual({ 202: 30, 200: 120 });
    const byUser = new Map(admittedOf(bought).map(({ userId, answer }) => [userId, ticketOf(answer).ticketId]));
    expect(byUser.size).toBe(30);
    for (const { userId, answer } of bought) expect(ticketOf(answer).ticketId).toBe(byUser.get(userId));
    expect((await over(on.url, sale.id)).counts).toMatchObject({ admitted: 30, ordered: 30 });

    const again = await buyers.rush(on.gateways, sale.id, fiveTimes);
    expect(countByResult(again)).toEqual({ 200: 150 });
    for (const { userId, answer } of again) {
      expect(ticketOf(answer)).toMatchObject({ ticketId: byUser.get(userId), position: 0 });
    }
    expect((await readSale(on.url, sale.id)).counts.admitted).toBe(30);
  });

  onShape('with more places than stock, sells every unit and no more', async () => {
    const sale = await newSale({ stock: 25, queueCap: 200, drainPerSecond: 200 });
    const bought = await buyers.rush(on.gateways, sale.id, freshUsers(250));
    expect(countByResult(bought)).toEqual({ 202: 25, '409 sold-out': 225 });
    const sold = await over(on.url, sale.id);
    expect(sold).toMatchObject({
      status: 'sold-out',
      stock: { initial: 25, remaining: 0, held: 0, sold: 25 },
      counts: { admitted: 25, ordered: 25, released: 0 },
    });
    expect(countByResult(await buyers.rush(on.gateways, sale.id, freshUsers(20)))).toEqual({ '409 sold-out': 20 });
    await rejectionsCounted(sale.id, { queueFull: 0, soldOut: 245, notOpen: 0 });
  });

  onShape('with more stock than places, sells all units to buyers that repeat their requests', async () => {
    const sale = await newSale({ stock: 60, queueCap: 10, drainPerSecond: 50 });
    const watching = watch(on.gateways, sale.id);
    const rejected = { queueFull: 0, soldOut: 0, notOpen: 0 };
    /** Tries one gateway after the other, until the buyer has a ticket or the sale is sold out. */
    const persistent = async (userId: string, first: number) =>
      eventually(
        async () => {
          for (let turn = first; ; turn++) {
            const answer = await buyers.buy(nextGateway(turn), sale.id, userId);
            if (answer.status === 202) return ticketOf(answer).ticketId;
            if (answer.status === 409) {
              rejected.soldOut++;
              return 'sold out';
            }
            expect(answer.status, answer.text).toBe(429);
            rejected.queueFull++;
          }
        },
        { what: 'a final decision' },
      );
    const outcomes = await Promise.all(freshUsers(75).map(persistent));
    expect(await watching.stop()).toBeGreaterThan(0);
    expect(outcomes.filter((outcome) => outcome === 'sold out').length).toBe(15);
    expect(new Set(outcomes).size).toBe(61);
    expect(rejected.queueFull).toBeGreaterThan(0);
    expect(await over(on.url, sale.id)).toMatchObject({ status: 'sold-out', stock: { remaining: 0, sold: 60 } });
    await rejectionsCounted(sale.id, rejected);
  });

  onShape('in a flood, every gateway gives holders their tickets and rejects newcomers', async () => {
    const full = await newSale({ stock: 1_000, queueCap: 20, drainPerSecond: 5 });
    const soldOut = await newSale({ stock: 20, queueCap: 100, drainPerSecond: 200 });
    for (const sale of [full, soldOut]) {
      const holders = new Map(
        admittedOf(await buyers.rush(on.gateways, sale.id, freshUsers(30))).map(({ userId, answer }) => [
          userId,
          ticketOf(answer).ticketId,
        ]),
      );
      expect(holders.size).toBeGreaterThanOrEqual(20);
      const heldSince = performance.now();
      let flooding = true;
      let rejected = 0;
      const flood = Promise.all(
        Array.from({ length: 8 }, async (_, client) => {
          const newcomers = freshUsers(10_000);
          for (let turn = 0; flooding; turn++) {
            const { status } = await buyers.buy(nextGateway(client + turn), sale.id, String(newcomers[turn]));
            if (status >= 400) rejected++;
          }
        }),
      );
      await eventually(() => rejected > 50 && performance.now() - heldSince > KNOWN_AFTER_MS, {
        what: 'the flood has started, and every gateway has a new snapshot',
      });
      const repeated = await buyers.rush(
        on.gateways,
        sale.id,
        [...holders.keys()].flatMap((user) => Array.from({ length: 5 }, () => user)),
      );
      flooding = false;
      await flood;
      expect(countByResult(repeated)).toEqual({ 200: 5 * holders.size });
      for (const { userId, answer } of repeated) expect(ticketOf(answer).ticketId).toBe(holders.get(userId));
    }
  });

  onSeparate('every gateway knows a ticket of another one within a second', async () => {
    const sale = await newSale({ stock: 1_000, queueCap: 5, drainPerSecond: 20 });
    const newcomers = () => buyers.rush(on.gateways, sale.id, freshUsers(20));
    for (let round = 0; round < 3; round++) {
      const holders = await eventually(
        async () => {
          const admitted = admittedOf(await newcomers());
          return admitted.length > 0 && admitted.map(({ userId }) => userId);
        },
        { what: 'a buyer is admitted' },
      );
      const heldSince = performance.now();
      // Every gateway rejects others all the time, so that it sends no unknown buyer to the row.
      let rejected = 0;
      await eventually(
        async () => {
          rejected += (await newcomers()).filter(({ answer }) => answer.status === 429).length;
          return performance.now() - heldSince > KNOWN_AFTER_MS;
        },
        { what: 'a second is over' },
      );
      expect(rejected).toBeGreaterThan(0);
      const repeated = await buyers.rush(
        on.gateways,
        sale.id,
        holders.flatMap((user) => on.gateways.map(() => user)),
      );
      expect(countByResult(repeated)).toEqual({ 200: repeated.length });
    }
  });

  onSeparate('sales at the same time cause no deadlock', async () => {
    const several = await Promise.all(
      Array.from({ length: 6 }, () => newSale({ stock: 200, queueCap: 200, drainPerSecond: 100 })),
    );
    const bought = await Promise.all(several.map((sale) => buyers.rush(on.gateways, sale.id, freshUsers(60))));
    expect(bought.map(countByResult)).toEqual(several.map(() => ({ 202: 60 })));
    for (const sale of several)
      expect((await over(on.url, sale.id)).counts).toMatchObject({ admitted: 60, ordered: 60 });
    expect(await deadlocks(on.databaseUrl)).toBe('none');
  });

  onShape('the rows that these tests stored violate no guarantee', async () => {
    for (const id of sales) await over(on.url, id);
    const { databaseUrl, dataDir } = on.system;
    const stored = databaseUrl ? { databaseUrl } : { dataDir: String(dataDir) };
    if (databaseUrl) {
      await eventually(() => isDrained(databaseUrl), { what: 'everything is done', timeoutMs: 20_000 });
    } else {
      for (const process of on.system.processes('flash-sale')) expect((await process.stop()).code).toBe(0);
    }
    const judged = await storedSales(stored);
    expect([...judged.keys()].sort()).toEqual(sales.toSorted());
    // The queue of the first sale was full.
    expect(judged.get(String(sales[0]))?.longest).toBe(CAP);
    const verdict = await checkInvariants(stored, { buyers: buyers.log });
    expect(verdict).toMatchObject({ violations: [], failed: [], lost: 0, duplicated: 0 });
    expect(verdict.orders).toBeGreaterThan(150);
    if (databaseUrl) expect(await deadlocks(databaseUrl)).toBe('none');
  });
});
