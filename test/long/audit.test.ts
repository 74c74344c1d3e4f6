// `sluice audit` on running systems: an undamaged one passes, each kind of damage is found by its id and nothing else
// is, and --repair repairs what a resend can repair.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { PGlite } from '@electric-sql/pglite';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import type { Order } from '../../contracts/orders.ts';
import { serviceNames } from '../../contracts/services.ts';
import type { AuditReport } from '../../demos/shared/auditor/report.ts';
import { query } from '../fault/support/sql.ts';
import { buy, createSale, over, readTicket, ticketOf } from '../service/support/flash-sales.ts';
import { embedded, onServers, type Shape, type System } from '../service/support/systems.ts';
import { call, completed, freshUser, get, placeOrder, postJson, readOrder } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';

vi.setConfig({ testTimeout: 180_000 });

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Flash sales in a process of their own. */
const onPostgres = onServers(
  'two processes on PostgreSQL',
  inject('servers'),
  [serviceNames.filter((name) => name !== 'flash-sale'), ['flash-sale']],
  { bus: 'local' },
);
const shapes = [embedded, onPostgres].map((shape) => [shape.name, shape] as [string, Shape]);

interface Audited {
  readonly code: number | null;
  readonly report: AuditReport;
  readonly errors: string;
}

async function sluiceAudit(
  system: System,
  args: readonly string[],
  nodeArgs: readonly string[] = [],
): Promise<Audited> {
  const child = spawn(
    process.execPath,
    [...nodeArgs, program, 'audit', '--json', '--at', `flash-sale=${system.url('flash-sale')}`, ...args],
    {
      env: { PATH: process.env.PATH ?? '', SLUICE_URL: system.url('order') },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 150_000,
      killSignal: 'SIGKILL',
    },
  );
  const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  if (!out) throw new Error(`the audit ended with ${code} and said: ${errors.slice(-2_000)}`);
  return { code, report: JSON.parse(out), errors };
}

/** The violations by rule: the ids, sorted. */
const found = ({ violations }: AuditReport) =>
  Object.fromEntries(violations.map(({ rule, total, ids }) => [rule, total === ids.length ? [...ids].sort() : total]));

/** Changes the database directly. An embedded one opens only after its process has ended. */
async function damage(system: System, statements: readonly string[]): Promise<void> {
  const sql = statements.join(';\n');
  if (system.databaseUrl) {
    await query(system.databaseUrl, sql);
    return;
  }
  const [process] = system.processes('order');
  await process?.stop();
  const pglite = await PGlite.create({ dataDir: join(String(system.dataDir), 'database') });
  try {
    await pglite.exec(sql);
  } finally {
    await pglite.close();
  }
  await process?.start();
}

describe.for(shapes)('%s', ([, shape]) => {
  const onShape = test.skipIf(!shape.available);

  let system: System;
  let orders: string;
  let sales: string;
  /** Completed and cancelled orders. */
  const done: Order[] = [];
  const undone: Order[] = [];
  let sale: FlashSale;
  /** The sale's tickets by buyer: two are sold, the order of the third is cancelled. */
  const tickets: { userId: string; ticketId: string; orderId: string }[] = [];

  beforeAll(async () => {
    if (!shape.available) return;
    // No resend is due during the tests, so every repair is the audit's.
    system = await shape.start({ RESEND_AFTER_MS: '3600000' });
    orders = system.url('order');
    sales = system.url('flash-sale');
    for (let count = 0; count < 8; count++) done.push(await placeOrder(orders, freshUser()));
    for (let count = 0; count < 3; count++) undone.push(await placeOrder(orders, freshUser()));
    for (const { id } of done) await completed(orders, id);
    for (const { id } of undone) await cancel(id);
    sale = await createSale(sales, { stock: 10 });
    for (let count = 0; count < 3; count++) {
      const userId = freshUser();
      const { ticketId } = ticketOf(await buy(sales, sale.id, userId));
      await over(sales, sale.id);
      const { orderId = '' } = await readTicket(sales, sale.id, ticketId);
      tickets.push({ userId, ticketId, orderId });
      await completed(orders, orderId);
    }
    await cancel(String(tickets[2]?.orderId));
    await eventually(
      async () => (await readTicket(sales, sale.id, String(tickets[2]?.ticketId))).status === 'released',
      { what: 'the unit is back' },
    );
  }, 180_000);
  afterAll(() => system?.remove());

  const cancel = async (id: string) => {
    expect((await call(`${orders}/orders/${id}/cancel`, { method: 'POST' })).status).toBe(200);
    await eventually(
      async () => Object.values((await readOrder(orders, id)).steps).every(({ status }) => status === 'reverted'),
      { what: `order ${id} is undone`, timeoutMs: 30_000 },
    );
  };
  const idOf = (list: readonly Order[], index: number) => String(list[index]?.id);

  onShape('passes an undamaged system, and counts every order and ticket', async () => {
    const { code, report } = await sluiceAudit(system, ['--settle', '30s']);
    expect(found(report)).toEqual({});
    expect(report).toMatchObject({
      ok: true,
      counts: {
        orders: { confirmed: 10, cancelled: 4, awaitingPayment: 0 },
        points: 18,
        coupons: 14,
        notifications: 18,
        sales: 1,
        tickets: 3,
        underWay: { orders: 0, tickets: 0, overdue: 0 },
      },
      overdue: [],
    });
    expect(code).toBe(0);
  });

  onShape('reports no violation for orders in progress, while others are placed and cancelled', async () => {
    let stopped = false;
    const customers = Array.from({ length: 4 }, async () => {
      for (let count = 0; !stopped; count++) {
        const { id } = await placeOrder(orders, freshUser());
        if (count % 2 === 0) await call(`${orders}/orders/${id}/cancel`, { method: 'POST' });
      }
    });
    try {
      for (let count = 0; count < 3; count++) {
        const { report } = await sluiceAudit(system, ['--settle', '60s']);
        expect(found(report)).toEqual({});
      }
    } finally {
      stopped = true;
      await Promise.all(customers);
    }
    await eventually(async () => (await sluiceAudit(system, ['--settle', '60s'])).report.counts.underWay.orders === 0, {
      what: 'every order is at its end',
      timeoutMs: 60_000,
    });
  });

  onShape('names the id of each damaged row, and --repair repairs those that a resend can repair', async () => {
    const lost = randomUUID();
    const forgotten = randomUUID();
    const unasked = randomUUID();
    const orphan = randomUUID();
    const [sold, , returned] = tickets;
    /** An order like one whose order.placed was lost before any service received it. */
    const silent = (id: string, resend: string) => [
      `INSERT INTO sluice_order.orders (id, user_id, currency, total, items, placed_event_id, created_at)
       SELECT '${id}', user_id, currency, total, items, gen_random_uuid(), now() - interval '1 hour'
       FROM sluice_order.orders
       WHERE id = '${idOf(done, 0)}'`,
      `INSERT INTO sluice_order.progress (order_id, resend_at) VALUES ('${id}', ${resend})`,
    ];
    await damage(system, [
      `DELETE FROM sluice_points.entries WHERE order_id = '${idOf(done, 0)}'`,
      `DELETE FROM sluice_coupon.decisions WHERE order_id = '${idOf(done, 1)}'`,
      `DELETE FROM sluice_notify.notifications WHERE order_id = '${idOf(done, 2)}'`,
      `UPDATE sluice_points.entries SET user_id = 'nobody' WHERE order_id = '${idOf(done, 3)}'`,
      `UPDATE sluice_coupon.decisions SET revoked_at = NULL, revoked_event_id = NULL
       WHERE order_id = '${idOf(undone, 0)}'`,
      `DELETE FROM sluice_points.entries WHERE order_id = '${idOf(undone, 1)}' AND kind = 'revoke'`,
      `INSERT INTO sluice_points.entries (id, order_id, user_id, kind, points, event_id)
       VALUES (gen_random_uuid(), '${orphan}', 'nobody', 'award', 5, gen_random_uuid())`,
      ...silent(lost, "now() + interval '1 hour'"),
      ...silent(forgotten, "'infinity'"),
      // A cancelled order's unit counts as sold again.
      `UPDATE sluice_flash_sale.tickets SET status = 'ordered' WHERE id = '${returned?.ticketId}'`,
      // A ticket has left the queue, and no resend of its request is due.
      `INSERT INTO sluice_flash_sale.tickets (id, sale_id, number, user_id, status, accepted_event_id, accepted_at,
         resend_at)
       VALUES ('${unasked}', '${sale.id}', 4, 'late', 'accepted', gen_random_uuid(), now(), 'infinity')`,
      `UPDATE sluice_flash_sale.sales SET released = 0, sold = 3, held = 1, admitted = 4, remaining = stock - 4`,
      // The totals are changed: a unit that is sold counts as held.
      `UPDATE sluice_flash_sale.sales SET sold = sold - 1, held = held + 1`,
    ]);

    const repairable = {
      'points-missing': [idOf(done, 0)],
      'coupon-missing': [idOf(done, 1)],
      'notification-missing': [idOf(done, 2)],
      'coupon-active': [idOf(undone, 0)],
      'points-not-revoked': [idOf(undone, 1)],
      'order-unaccounted': [forgotten],
      'stock-not-released': [String(returned?.ticketId)],
      'ticket-unaccounted': [unasked],
    };
    const lasting = { 'effect-other-user': [idOf(done, 3)], 'points-without-order': [orphan] };
    const { code, report, errors } = await sluiceAudit(system, ['--settle', '500ms']);
    const totals = [`${sale.id}: held 2, by its tickets 1`, `${sale.id}: sold 2, by its tickets 3`];
    expect(found(report)).toEqual({ ...repairable, ...lasting, 'sale-totals': totals });
    expect(code).toBe(1);
    expect(errors).toMatch(/^error: 12 guarantee violations\n$/);
    for (const violation of report.violations)
      expect([violation.rule, violation.repairable]).toEqual([violation.rule, violation.rule in repairable]);
    // An order with a resend due violates nothing: it is in progress, and named.
    expect(report.overdue.map(({ id }) => id)).toContain(lost);
    expect(report.overdue.find(({ id }) => id === lost)).toMatchObject({
      waitsFor: ['points', 'coupon', 'notification'],
      messages: [],
    });

    const repaired = await sluiceAudit(system, ['--settle', '3s', '--repair']);
    expect(repaired.code).toBe(1);
    expect(repaired.report.repaired?.resent).toBe(Object.keys(repairable).length + 1);
    expect(found({ ...report, violations: repaired.report.repaired?.violationsBefore ?? [] })).toEqual(found(report));
    // On a busy machine the replies may take longer than that.
    await eventually(
      async () => {
        const after = found((await sluiceAudit(system, ['--settle', '0s'])).report);
        // The totals are off by as much as they were.
        const off = [`${sale.id}: held 1, by its tickets 0`, `${sale.id}: sold 2, by its tickets 3`];
        expect(after).toEqual({ ...lasting, 'sale-totals': off });
        return true;
      },
      { what: 'everything repairable is repaired', timeoutMs: 60_000 },
    );
    for (const id of [lost, forgotten]) expect(await readOrder(orders, id)).toMatchObject({ status: 'completed' });
    const ordered = await readTicket(sales, sale.id, unasked);
    expect(ordered.status).toBe('ordered');
    expect((await readTicket(sales, sale.id, String(sold?.ticketId))).orderId).toBe(sold?.orderId);
    // A user with a notification gets no second one.
    const { items } = await get(
      `${system.url('notify')}/users/${done[0]?.userId}/notifications`,
      schemas.notificationsPage,
    );
    expect(items.length).toBe(3); // of the order itself, and of the two orders made out of it
  });

  onShape('finds duplicates if the unique keys are dropped', async () => {
    const before = found((await sluiceAudit(system, ['--settle', '0s'])).report);
    const [one, two] = tickets;
    await damage(system, [
      'ALTER TABLE sluice_points.entries DROP CONSTRAINT one_entry_per_order_and_kind',
      'ALTER TABLE sluice_coupon.decisions DROP CONSTRAINT decisions_pkey',
      'ALTER TABLE sluice_notify.notifications DROP CONSTRAINT one_notification_per_order_and_kind',
      'DROP INDEX sluice_flash_sale.tickets_live',
      'DROP INDEX sluice_order.orders_ticket',
      `INSERT INTO sluice_points.entries SELECT gen_random_uuid(), order_id, user_id, kind, points, at, event_id
       FROM sluice_points.entries WHERE order_id = '${idOf(done, 4)}'`,
      `INSERT INTO sluice_coupon.decisions SELECT * FROM sluice_coupon.decisions WHERE order_id = '${idOf(done, 5)}'`,
      `INSERT INTO sluice_notify.notifications
       SELECT gen_random_uuid(), order_id, user_id, kind, text, at, event_id FROM sluice_notify.notifications
       WHERE order_id = '${idOf(done, 6)}'`,
      `UPDATE sluice_order.orders SET ticket_id = '${two?.ticketId}' WHERE id = '${idOf(done, 7)}'`,
      `UPDATE sluice_order.orders SET user_id = '${two?.userId}' WHERE id = '${one?.orderId}'`,
      `UPDATE sluice_flash_sale.tickets SET user_id = '${two?.userId}' WHERE id = '${one?.ticketId}'`,
    ]);
    const { code, report } = await sluiceAudit(system, ['--settle', '0s']);
    expect(found(report)).toEqual({
      ...before,
      'points-doubled': [idOf(done, 4)],
      'coupon-doubled': [idOf(done, 5)],
      'notification-doubled': [idOf(done, 6)],
      'ticket-orders-doubled': [two?.ticketId],
      'ticket-doubled': [`${sale.id}: ${two?.userId}`],
      // Its effects still name its first user.
      'effect-other-user': [idOf(done, 3), String(one?.orderId)].sort(),
      // The first of that ticket's two orders is another user's.
      'ticket-other-user': [two?.ticketId],
    });
    expect(code).toBe(1);
  });
});

const MANY = 100_000;

test.skipIf(!onPostgres.available)(`${MANY} orders are audited in bounded memory`, async () => {
  const system = await onPostgres.start({ RESEND_AFTER_MS: '3600000' });
  try {
    const orders = `(SELECT n, (lpad(to_hex(1700000000000 + n), 12, '0') || '7abc8' || lpad(to_hex(n), 15, '0'))::uuid AS id
      FROM generate_series(1, ${MANY}) AS n) AS o`;
    await damage(system, [
      `INSERT INTO sluice_order.orders (id, user_id, currency, total, items, placed_event_id)
       SELECT id, 'ann', 'GBP', 5900, '[{}]', gen_random_uuid() FROM ${orders}`,
      `INSERT INTO sluice_order.progress (order_id, points, coupon, notification, resend_at)
       SELECT id, '{"status":"done"}', '{"status":"done"}', '{"status":"done"}', now() FROM ${orders}`,
      `INSERT INTO sluice_points.entries (id, order_id, user_id, kind, points, event_id)
       SELECT gen_random_uuid(), id, 'ann', 'award', 59, gen_random_uuid() FROM ${orders} WHERE n <> 77777`,
      `INSERT INTO sluice_coupon.decisions (order_id, id, user_id, amount, currency, expires_at, event_id)
       SELECT id, gen_random_uuid(), 'ann', 295, 'GBP', now(), gen_random_uuid() FROM ${orders}`,
      `INSERT INTO sluice_notify.notifications (id, order_id, user_id, kind, text, event_id)
       SELECT gen_random_uuid(), id, 'ann', 'order.placed', 'Thank you', gen_random_uuid() FROM ${orders}`,
    ]);
    // As objects, their facts take about 100 MB.
    const { code, report } = await sluiceAudit(system, ['--settle', '0s'], ['--max-old-space-size=48']);
    expect(report.counts).toMatchObject({
      orders: { confirmed: MANY },
      points: MANY - 1,
      coupons: MANY,
      notifications: MANY,
    });
    expect(report.violations).toMatchObject([{ rule: 'points-missing', total: 1 }]);
    expect(report.violations[0]?.ids[0]).toMatch(/-000000012fd1$/);
    expect(code).toBe(1);
  } finally {
    await system.remove();
  }
});

describe('the routes under /audit', () => {
  test.skipIf(!onPostgres.available)('reject requests out of bounds, and ignore unknown ids', async () => {
    const system = await onPostgres.start();
    try {
      const url = system.url('order');
      const ids = Array.from({ length: 201 }, () => randomUUID());
      for (const query of [
        'order?limit=0',
        'order?limit=5001',
        'order?after=1',
        `order?ids=${ids.join(',')}`,
        'order?ids=',
        'points?limt=1',
        'points/messages?ids=x',
      ])
        expect([query, (await call(`${url}/audit/${query}`)).status]).toEqual([query, 422]);
      expect((await postJson(`${url}/audit/order/resend`, { ids })).status).toBe(422);
      expect((await postJson(`${url}/audit/order/resend`, { orders: [] })).status).toBe(422);
      // Ids that do not exist are ignored.
      expect((await postJson(`${url}/audit/order/resend`, { ids: ids.slice(1) })).body).toEqual({ resent: 0 });
      expect((await call(`${url}/audit/flash-sale`)).status).toBe(404);
    } finally {
      await system.remove();
    }
  });
});
