// I4 and I5: what a crowd is told that comes all at once, and what is stored of it. Nobody is admitted beyond the cap or
// the stock, nobody twice, and who is admitted gets an order like any other.
import { expect, inject, vi } from 'vitest';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { checkInvariants, isDrained } from '../fault/support/checker.ts';
import { keepJournal } from '../fault/support/sale-journal.ts';
import { completed } from '../service/support/api.ts';
import { onEachShape } from '../service/support/each-shape.ts';
import {
  admittedOf,
  Buyers,
  countOutcomes,
  createSale,
  freshUsers,
  over,
  readSale,
  readTicket,
  ticketOf,
  watch,
} from '../service/support/flash-sales.ts';
import { deadlocks, holdDrain } from '../service/support/sale-hands.ts';
import { storedSales } from '../service/support/stored-sales.ts';
import { embedded, gatewaysOnPostgres, gatewaysOnRedis, type System } from '../service/support/systems.ts';
import { eventually } from '../setup/wait.ts';

const CAP = 40;
// Seconds where the machine is quiet.
vi.setConfig({ testTimeout: 120_000 });

/** What a gateway remembers is at most this old, so whatever happened before is known to all of them. */
const KNOWN_AFTER_MS = 1_000;

const servers = inject('servers');
const shapes = [embedded, gatewaysOnPostgres(servers), gatewaysOnRedis(servers)];

const prepare = async ({ databaseUrl }: System) => {
  if (databaseUrl) await keepJournal(databaseUrl);
};

onEachShape({ shapes, prepare }, (on) => {
  const onShape = on.test;
  const whereSeparate = on.shape.separate ? onShape : () => {};
  const buyers = new Buyers();
  const sales: string[] = [];
  const newSale = async (changes: object) => {
    const sale = await createSale(on.url, changes);
    sales.push(sale.id);
    return sale;
  };
  /** Nothing crashes here, so every one of them is counted, soon. */
  const rejectionsCounted = (saleId: string, rejected: FlashSale['counts']['rejected']) =>
    eventually(
      async () => {
        expect((await readSale(on.url, saleId)).counts.rejected).toEqual(rejected);
        return true;
      },
      { what: 'every rejection is counted' },
    );

  /** A URL for each call, in turn. */
  const nextGateway = (index: number) => on.gateways[index % on.gateways.length] as string;

  onShape('ten times the cap at once: the queue is filled to its cap and not by one more', async () => {
    const sale = await newSale({ stock: 1_000, queueCap: CAP, drainPerSecond: 10 });
    const watching = watch(on.gateways, sale.id);
    const bought = await buyers.rush(on.gateways, sale.id, freshUsers(10 * CAP));
    const after = await readSale(on.url, sale.id);
    const admitted = admittedOf(bought);
    const left = after.counts.admitted - after.queue.length;
    expect(admitted.length).toBe(after.counts.admitted);
    expect(admitted.length).toBeGreaterThanOrEqual(CAP);
    // A place is taken again only once someone has left it.
    expect(admitted.length).toBeLessThanOrEqual(CAP + left);
    expect(countOutcomes(bought)).toEqual({ 202: admitted.length, '429 queue-full': 10 * CAP - admitted.length });

    const done = await over(on.url, sale.id);
    expect(await watching.stop()).toBeGreaterThan(0); // how full it was, the journal tells in the end
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

  whereSeparate('while nobody leaves the queue, exactly the cap is admitted, in exact positions', async () => {
    const { databaseUrl } = on;
    const sale = await newSale({ stock: 1_000, queueCap: CAP, drainPerSecond: 200 });
    const release = await holdDrain(databaseUrl);
    try {
      const users = freshUsers(2 * CAP);
      // Everyone five times, each time at another gateway.
      const bought = await buyers.rush(on.gateways, sale.id, Array.from({ length: 5 }, () => users).flat());
      const admitted = admittedOf(bought);
      expect(admitted.length).toBe(CAP);
      const byUser = new Map(admitted.map(({ userId, answer }) => [userId, ticketOf(answer).ticketId]));
      expect(byUser.size).toBe(CAP);
      const positions = admitted.map(({ answer }) => ticketOf(answer).position);
      expect(positions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: CAP }, (_, index) => index + 1));
      // Who was admitted, and asked again before or after, is told of the same ticket, unless nothing was decided yet.
      for (const { userId, answer } of bought.filter(({ answer }) => answer.status === 200)) {
        expect(ticketOf(answer).ticketId).toBe(byUser.get(userId));
      }
      // Asked at the same time, another gateway may not know of the ticket yet: a test below gives it a second.
      const rejected = bought.filter(({ answer }) => answer.status === 429);
      expect(countOutcomes(rejected)).toEqual({ '429 queue-full': rejected.length });

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

  onShape('who asks five times at once has one ticket, also once it is ordered', async () => {
    const users = freshUsers(30);
    const fiveTimes = users.flatMap((user) => Array.from({ length: 5 }, () => user));
    const sale = await newSale({ stock: 100, queueCap: 100, drainPerSecond: 100 });
    const bought = await buyers.rush(on.gateways, sale.id, fiveTimes);
    expect(countOutcomes(bought)).toEqual({ 202: 30, 200: 120 });
    const byUser = new Map(admittedOf(bought).map(({ userId, answer }) => [userId, ticketOf(answer).ticketId]));
    expect(byUser.size).toBe(30);
    for (const { userId, answer } of bought) expect(ticketOf(answer).ticketId).toBe(byUser.get(userId));
    expect((await over(on.url, sale.id)).counts).toMatchObject({ admitted: 30, ordered: 30 });

    const again = await buyers.rush(on.gateways, sale.id, fiveTimes);
    expect(countOutcomes(again)).toEqual({ 200: 150 });
    for (const { userId, answer } of again) {
      expect(ticketOf(answer)).toMatchObject({ ticketId: byUser.get(userId), position: 0 });
    }
    expect((await readSale(on.url, sale.id)).counts.admitted).toBe(30);
  });

  onShape('more queue than stock: every unit is sold, and not one more', async () => {
    const sale = await newSale({ stock: 25, queueCap: 200, drainPerSecond: 200 });
    const bought = await buyers.rush(on.gateways, sale.id, freshUsers(250));
    expect(countOutcomes(bought)).toEqual({ 202: 25, '409 sold-out': 225 });
    const sold = await over(on.url, sale.id);
    expect(sold).toMatchObject({
      status: 'sold-out',
      stock: { initial: 25, remaining: 0, held: 0, sold: 25 },
      counts: { admitted: 25, ordered: 25, released: 0 },
    });
    expect(countOutcomes(await buyers.rush(on.gateways, sale.id, freshUsers(20)))).toEqual({ '409 sold-out': 20 });
    await rejectionsCounted(sale.id, { queueFull: 0, soldOut: 245, notOpen: 0 });
  });

  onShape('more stock than queue: who comes again while it is full gets a unit, until all are sold', async () => {
    const sale = await newSale({ stock: 60, queueCap: 10, drainPerSecond: 50 });
    const watching = watch(on.gateways, sale.id);
    const rejected = { queueFull: 0, soldOut: 0, notOpen: 0 };
    /** Asks, at one gateway after the other, until there is a ticket or nothing left. */
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
        { what: 'a decision for good' },
      );
    const outcomes = await Promise.all(freshUsers(75).map(persistent));
    expect(await watching.stop()).toBeGreaterThan(0);
    expect(outcomes.filter((outcome) => outcome === 'sold out').length).toBe(15);
    expect(new Set(outcomes).size).toBe(61);
    expect(rejected.queueFull).toBeGreaterThan(0);
    expect(await over(on.url, sale.id)).toMatchObject({ status: 'sold-out', stock: { remaining: 0, sold: 60 } });
    await rejectionsCounted(sale.id, rejected);
  });

  onShape('in a flood, who holds a ticket is told so by every gateway, whatever it tells the others', async () => {
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
        what: 'the flood is on, and every gateway has looked again',
      });
      const asked = await buyers.rush(
        on.gateways,
        sale.id,
        [...holders.keys()].flatMap((user) => Array.from({ length: 5 }, () => user)),
      );
      flooding = false;
      await flood;
      expect(countOutcomes(asked)).toEqual({ 200: 5 * holders.size });
      for (const { userId, answer } of asked) expect(ticketOf(answer).ticketId).toBe(holders.get(userId));
    }
  });

  whereSeparate('a ticket that one gateway gave is known to all of them within a second', async () => {
    const sale = await newSale({ stock: 1_000, queueCap: 5, drainPerSecond: 20 });
    const newcomers = () => buyers.rush(on.gateways, sale.id, freshUsers(20));
    for (let round = 0; round < 3; round++) {
      const holders = await eventually(
        async () => {
          const admitted = admittedOf(await newcomers());
          return admitted.length > 0 && admitted.map(({ userId }) => userId);
        },
        { what: 'somebody is admitted' },
      );
      const heldSince = performance.now();
      // Others are rejected everywhere all the time, so that no gateway has to ask the row about anybody it does not know.
      let rejected = 0;
      await eventually(
        async () => {
          rejected += (await newcomers()).filter(({ answer }) => answer.status === 429).length;
          return performance.now() - heldSince > KNOWN_AFTER_MS;
        },
        { what: 'a second is over' },
      );
      expect(rejected).toBeGreaterThan(0);
      const asked = await buyers.rush(
        on.gateways,
        sale.id,
        holders.flatMap((user) => on.gateways.map(() => user)),
      );
      expect(countOutcomes(asked)).toEqual({ 200: asked.length });
    }
  });

  whereSeparate('sales side by side do not wait for each other in a circle', async () => {
    const several = await Promise.all(
      Array.from({ length: 6 }, () => newSale({ stock: 200, queueCap: 200, drainPerSecond: 100 })),
    );
    const bought = await Promise.all(several.map((sale) => buyers.rush(on.gateways, sale.id, freshUsers(60))));
    expect(bought.map(countOutcomes)).toEqual(several.map(() => ({ 202: 60 })));
    for (const sale of several)
      expect((await over(on.url, sale.id)).counts).toMatchObject({ admitted: 60, ordered: 60 });
    expect(await deadlocks(on.databaseUrl)).toBe(0);
  });

  onShape('everything stored by these tests violates no guarantee', async () => {
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
    // The first one was meant to be full.
    expect(judged.get(String(sales[0]))?.longest).toBe(CAP);
    const verdict = await checkInvariants(stored, new Map(), buyers.log);
    expect(verdict).toMatchObject({ violations: [], failed: [], lost: 0, duplicated: 0 });
    expect(verdict.orders).toBeGreaterThan(150);
    if (databaseUrl) expect(await deadlocks(databaseUrl)).toBe(0);
  });
});
