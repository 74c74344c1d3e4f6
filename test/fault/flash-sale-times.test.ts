// When a sale opens and closes, and the rate of its drain, by the database's clock.
import { setTimeout as delay } from 'node:timers/promises';
import { expect, inject, vi } from 'vitest';
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
} from '../service/support/flash-sales.ts';
import { storedSales } from '../service/support/stored-sales.ts';
import { embedded, gatewaysOnRedis } from '../service/support/systems.ts';
import { eventually } from '../setup/wait.ts';

// Takes seconds on an idle machine.
vi.setConfig({ testTimeout: 120_000 });

const servers = inject('servers');
const shapes = [embedded, gatewaysOnRedis(servers)];

/** The delay that a snapshot may add to the opening, and some more for a busy machine. */
const OPEN_WITHIN_MS = 150;
const PER_SECOND = 60;
const PACE_SECONDS = 5;
const WINDOW_MS = 500;

/** Tickets per unit of time, by least squares, so that the first and last intervals weigh no more than the others. */
function slope(times: readonly number[]): number {
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const middle = (times.length - 1) / 2;
  const covariance = times.reduce((sum, time, rank) => sum + (time - mean) * (rank - middle), 0);
  return covariance / times.reduce((sum, time) => sum + (time - mean) ** 2, 0);
}

onEachShape({ shapes }, (on) => {
  const onShape = on.test;

  const at = (time: number) => new Date(time).toISOString();

  /** When the tickets of a sale were created and left its queue. */
  async function timesOf(saleId: string) {
    const { databaseUrl, dataDir } = on.system;
    const stopped = databaseUrl ? [] : on.system.processes('flash-sale');
    for (const process of stopped) await process.stop();
    const sale = (await storedSales(databaseUrl ? { databaseUrl } : { dataDir: String(dataDir) })).get(saleId);
    for (const process of stopped) await process.start();
    if (!sale) throw new Error('no such sale');
    return sale;
  }

  /** Passes if one of three attempts does, because the machine may be busy. */
  async function upToThreeTimes(measure: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await measure();
      } catch (error) {
        if (attempt === 3) throw error;
      }
    }
  }

  onShape('opens a sale on time at every gateway, and for no buyer sooner', () =>
    upToThreeTimes(async () => {
      const opensAt = Date.now() + 1_500;
      const sale = await createSale(on.url, {
        stock: 100_000,
        queueCap: 100_000,
        drainPerSecond: 200,
        opensAt: at(opensAt),
      });
      expect(sale.status).toBe('scheduled');
      const crowd = new Buyers();
      /** Buys without a pause; resolves with the time from the opening to the last rejected request. */
      const press = async (gateway: string) => {
        const users = freshUsers(1_000);
        for (let turn = 0, rejectedAt = 0; ; turn++) {
          const sentAt = Date.now();
          const answer = await crowd.buy(gateway, sale.id, String(users[turn]));
          if (answer.status === 202) return rejectedAt - opensAt;
          expect(answer.body).toMatchObject({ type: '/problems/not-open' });
          rejectedAt = sentAt;
          // Leaves processor time for the gateways.
          await delay(5);
        }
      };
      const delaysMs = await Promise.all(on.gateways.map(press));
      expect(Math.max(...delaysMs)).toBeLessThan(OPEN_WITHIN_MS);
      expect((await readSale(on.url, sale.id)).status).toBe('open');
      const { tickets, opens_ms } = await timesOf(sale.id);
      expect(opens_ms).toBe(opensAt);
      expect(Math.min(...tickets.map(({ created_ms }) => created_ms))).toBeGreaterThanOrEqual(opens_ms);
      expect(tickets.length).toBe(on.gateways.length);
    }),
  );

  onShape('a closed sale places the orders of the buyers in its queue, and admits no others', async () => {
    const closesAt = Date.now() + 3_000;
    const sale = await createSale(on.url, {
      stock: 100,
      queueCap: 24,
      drainPerSecond: 5,
      closesAt: at(closesAt),
    });
    const crowd = new Buyers();
    const before = await crowd.rush(on.gateways, sale.id, freshUsers(24));
    const holders = admittedOf(before);
    expect(holders.length).toBe(24);
    const closed = await eventually(
      async () => {
        const now = await readSale(on.url, sale.id);
        return now.status === 'closed' && now;
      },
      { what: 'the sale is closed' },
    );
    expect(Date.now()).toBeGreaterThanOrEqual(closesAt);
    expect(closed.queue.length).toBeGreaterThan(0);
    // Every gateway rejects, first against its old snapshot, then with its new one.
    for (let turn = 0; turn < 3; turn++)
      expect(countByResult(await crowd.rush(on.gateways, sale.id, freshUsers(8)))).toEqual({ '409 not-open': 8 });
    for (const { userId, answer } of holders) {
      const again = await crowd.buy(String(on.gateways.at(-1)), sale.id, userId);
      expect(again.status, again.text).toBe(200);
      expect(ticketOf(again).ticketId).toBe(ticketOf(answer).ticketId);
    }
    const done = await over(on.url, sale.id);
    expect(done).toMatchObject({ status: 'closed', counts: { admitted: holders.length, ordered: holders.length } });
    for (const { answer } of holders)
      expect((await readTicket(on.url, sale.id, ticketOf(answer).ticketId)).status).toBe('ordered');
  });

  onShape('drains a full queue evenly, at the rate of its sale', () =>
    upToThreeTimes(async () => {
      const count = PER_SECOND * PACE_SECONDS;
      const sale = await createSale(on.url, { stock: count, queueCap: count, drainPerSecond: PER_SECOND });
      const bought = await new Buyers().rush(on.gateways, sale.id, freshUsers(count));
      const boughtAt = performance.now();
      expect(countByResult(bought)).toEqual({ 202: count });
      // Requests in the meantime would take processor time from the drain.
      await eventually(() => performance.now() > boughtAt + PACE_SECONDS * 1_000, {
        what: 'the drain had the time that it needs',
      });
      await over(on.url, sale.id);
      const { tickets } = await timesOf(sale.id);
      const times = tickets.map(({ accepted_ms }) => Number(accepted_ms)).toSorted((a, b) => a - b);
      expect(times.length).toBe(count);
      // First come, first served, as far as several processes can tell the order.
      const ranks = new Map(times.map((time, rank) => [time, rank]));
      const displaced = tickets.map(({ accepted_ms }, index) =>
        Math.abs(Number(ranks.get(Number(accepted_ms))) - index),
      );
      expect(Math.max(...displaced)).toBeLessThan(PER_SECOND);

      const perSecond = slope(times) * 1_000;
      let busiest = 0;
      for (let from = 0, to = 0; from < count; from++) {
        while (to < count && Number(times[to]) - Number(times[from]) < WINDOW_MS) to++;
        busiest = Math.max(busiest, to - from);
      }
      console.info(
        `${on.shape.name}: ${perSecond.toFixed(2)}/s of ${PER_SECOND}, at most ${busiest} in ${WINDOW_MS} ms`,
      );
      // Other tests may take processor time, and a missed slot is lost; the benchmark requires 2 %.
      expect(perSecond / PER_SECOND).toBeGreaterThan(0.75);
      expect(perSecond / PER_SECOND).toBeLessThan(1.03);
      // No burst at the start of each second.
      expect(busiest).toBeLessThanOrEqual(0.85 * PER_SECOND);
    }),
  );
});
