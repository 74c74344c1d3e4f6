// Orders are paid while the provider misbehaves and the order service is killed. No order is paid and expired, or
// charged and not paid; every unit is sold or free; every response about a payment is true, by the provider's ledger.
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { createSale } from '../service/support/flash-sales.ts';
import { type PaymentsProcess, startPayments, type Told } from '../setup/payments.ts';
import { Buyers } from './support/buyers.ts';
import { conclude } from './support/conclude.ts';
import { Holders } from './support/holders.ts';
import { newSchedule, rounds, type Schedule } from './support/schedule.ts';
import type { ServiceProcess } from './support/service-process.ts';
import { query } from './support/sql.ts';
import { eitherRoles, faultWith, type Roles, startSystem } from './support/system.ts';

// A round takes seconds on an idle machine.
vi.setConfig({ testTimeout: 300_000 });

/** I7, in addition to the hold. */
const DONE_WITHIN_MS = 45_000;
const HOLD_SECONDS = 4;
const PAYMENT_TIMEOUT_MS = 500;
const servers = inject('servers');

interface Selling {
  readonly schedule: Schedule;
  readonly payments: PaymentsProcess;
  /** The two processes of the order service. */
  readonly shops: readonly [ServiceProcess, ServiceProcess];
  readonly buyers: Buyers;
  readonly holders: Holders;
  /** Ends the fault, and waits until all orders are at their end. Resolves with the number of orders by kind. */
  conclude(fault: string, faultRounds: number): Promise<Ends>;
}

interface Ends {
  readonly paid: number;
  readonly expired: number;
  readonly cancelled: number;
  readonly refunded: number;
}

/** A sale whose orders are paid, cancelled, paid and cancelled, or left to expire, while buyers keep arriving. */
async function sell(roles: Roles = 'apart'): Promise<Selling> {
  const schedule = newSchedule();
  const payments = await startPayments();
  onTestFinished(() => payments.stop());
  const { processes, databaseUrl } = await startSystem({
    roles,
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    processes: [['order'], ['order'], ['points', 'coupon', 'notify', 'flash-sale']],
    env: { EVENT_BUS: 'local', PAYMENT_URL: payments.url, PAYMENT_TIMEOUT_MS: String(PAYMENT_TIMEOUT_MS) },
  });
  const [one, other, gateway] = processes as [ServiceProcess, ServiceProcess, ServiceProcess];
  const terms = { stock: 10_000, queueCap: 1_000, drainPerSecond: 50, holdSeconds: HOLD_SECONDS };
  const { id: saleId } = await createSale(gateway.url, terms);
  const holders = new Holders({
    gateways: [gateway.url],
    shops: [one.url, other.url],
    saleId,
    schedule,
    pay: 0.6,
    cancel: 0.1,
    regret: 0.15,
    // Some pay too late.
    withinMs: HOLD_SECONDS * 1_000 + 1_000,
  });
  const buyers = new Buyers({ urls: [gateway.url], saleId, schedule, onTicket: holders.take });
  buyers.arrive(15);
  return {
    schedule,
    payments,
    shops: [one, other],
    buyers,
    holders,
    async conclude(fault, faultRounds) {
      const over = performance.now();
      const { failed } = await conclude({
        fault,
        rounds: faultRounds,
        databaseUrl,
        buyers,
        holders,
        payments,
        over,
        withinMs: HOLD_SECONDS * 1_000 + DONE_WITHIN_MS,
      });
      expect(failed).toEqual([]);
      const [ends] = await query<Omit<Ends, 'refunded'>>(
        databaseUrl,
        `SELECT count(*) FILTER (WHERE paid_at IS NOT NULL)::int AS paid,
           count(*) FILTER (WHERE cancel_reason = 'not paid in time')::int AS expired,
           count(*) FILTER (WHERE state = 'cancelled' AND cancel_reason IS NULL)::int AS cancelled
         FROM sluice_order.progress`,
      );
      const refunded = (await payments.entries()).filter(({ status }) => status === 'refunded').length;
      const all = { ...(ends as Omit<Ends, 'refunded'>), refunded };
      // Without orders of each kind, the checker would have nothing to judge.
      for (const [end, orders] of Object.entries(all)) expect(orders, end).toBeGreaterThan(0);
      return all;
    },
  };
}

const misbehaviours: readonly (Told | 'killed')[] = [
  { declineShare: 0.5 },
  { delayMs: 2 * PAYMENT_TIMEOUT_MS },
  { respondLateMs: 2 * PAYMENT_TIMEOUT_MS },
  { decideLateMs: 2 * PAYMENT_TIMEOUT_MS, declineShare: 0.3 },
  { away: true },
  'killed',
];

test('charges no order wrongly while the provider declines, is slow, late, unreachable or killed', async () => {
  const { schedule, payments, buyers, holders, conclude } = await sell();
  for (let round = 0; round < rounds; round++) {
    for (const misbehaviour of schedule.shuffled(misbehaviours)) {
      await buyers.moreAdmitted(10);
      if (misbehaviour === 'killed') await payments.kill();
      else await payments.behave(misbehaviour);
      await schedule.runFor(1_000, 2_000);
      if (misbehaviour === 'killed') await payments.restart();
      else await payments.behave({});
    }
  }
  await conclude('payment provider slow, late, declining, away, killed', rounds);
  const statuses = new Set(holders.payments);
  for (const status of [200, 402, 503]) expect(statuses).toContain(status);
});

test.each(eitherRoles)('charges no order wrongly while the order service is killed, roles %s', async (roles) => {
  const kills = Math.max(2, rounds);
  const { schedule, payments, shops, conclude } = await sell(roles);
  await payments.behave({ declineShare: 0.2, delayMs: 50, respondLateMs: 50 });
  for (let kill = 0; kill < kills; kill++) {
    for (const shop of shops) {
      await schedule.runFor(1_500, 2_500);
      await shop.kill();
      await shop.start();
    }
  }
  await payments.behave({});
  await conclude(faultWith(roles, 'kill -9 of two order processes while orders are paid'), kills);
});

test.each(['payment.before-charge', 'payment.after-charge'] as const)(
  'charges no order wrongly when both order processes crash at %s',
  async (failpoint) => {
    const { payments, shops, conclude } = await sell();
    await payments.behave({ declineShare: 0.2 });
    for (let round = 0; round < rounds; round++) {
      await Promise.all(
        shops.map(async (shop) => {
          await shop.kill();
          await shop.launch({ FAILPOINT: failpoint });
          expect(await shop.ended(60_000)).toEqual({ code: null, signal: 'SIGKILL' });
        }),
      );
      await Promise.all(shops.map((shop) => shop.start()));
    }
    await payments.behave({});
    await conclude(`crash at ${failpoint}, both order processes`, rounds);
  },
);
