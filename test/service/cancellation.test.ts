// Cancelling orders over HTTP, in both shapes of the system: every effect is reverted, whenever the cancellation comes.
import { randomUUID } from 'node:crypto';
import { describe, expect, inject, vi } from 'vitest';
import { run as sluice } from '../../cli/program.ts';
import { query } from '../fault/support/sql.ts';
import { call, completed, freshUser, get, orderOf, placeOrder, postJson, readOrder } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually, gate } from '../setup/wait.ts';
import { onEachShape } from './support/each-shape.ts';
import { buy, createSale, over, readSale, readTicket, ticketOf } from './support/flash-sales.ts';
import { embedded, separateProcesses } from './support/systems.ts';

const servers = inject('servers');
const shapes = [embedded, separateProcesses(servers)];

onEachShape({ shapes, env: { RESEND_AFTER_MS: '1000' } }, (on) => {
  const onShape = on.test;
  const whereSeparate = on.shape.separate ? onShape : () => {};

  const cancel = (id: string, body: unknown = {}) => postJson(`${on.orders}/orders/${id}/cancel`, body);
  const isReverted = (id: string) =>
    eventually(
      async () => {
        const order = await readOrder(on.orders, id);
        return Object.values(order.steps).every(({ status }) => status === 'reverted') && order;
      },
      { what: `every step of order ${id} is reverted`, timeoutMs: 20_000 },
    );
  /** A user's points, coupons and notifications, once the order is reverted. */
  const expectReverted = async (userId: string) => {
    const points = await get(`${on.system.url('points')}/users/${userId}/points`, schemas.pointsPage);
    expect(points.balance).toBe(0);
    expect(points.items.map(({ kind, points }) => ({ kind, points }))).toEqual([
      { kind: 'revoke', points: -59 },
      { kind: 'award', points: 59 },
    ]);
    const coupons = await get(`${on.system.url('coupon')}/users/${userId}/coupons`, schemas.couponsPage);
    expect(coupons.items.map(({ status }) => status)).toEqual(['revoked']);
    const notified = await get(`${on.system.url('notify')}/users/${userId}/notifications`, schemas.notificationsPage);
    expect(notified.items.map(({ kind }) => kind).sort()).toEqual(['order.cancelled', 'order.placed']);
  };

  onShape('cancelling a completed order reverts all of its effects', async () => {
    const userId = freshUser();
    const { id } = await placeOrder(on.orders, userId);
    await completed(on.orders, id);
    const answer = await cancel(id, { reason: 'changed my mind' });
    expect(answer.status).toBe(200);
    expect(answer.json(schemas.order)).toMatchObject({ id, status: 'cancelled' });
    const order = await isReverted(id);
    const at = expect.stringMatching(/Z$/);
    expect(order.status).toBe('cancelled');
    expect(order.steps).toEqual({
      points: { status: 'reverted', at, detail: '59 points taken back' },
      coupon: { status: 'reverted', at, detail: 'revoked' },
      notification: { status: 'reverted', at },
    });
    await expectReverted(userId);
    const notified = await get(`${on.system.url('notify')}/users/${userId}/notifications`, schemas.notificationsPage);
    expect(notified.items[0]?.text).toBe('Your order of 1 item for 59.97 GBP is cancelled: changed my mind.');

    // Repeating the cancellation changes nothing.
    const again = await cancel(id, { reason: 'once more' });
    expect([again.status, again.json(schemas.order)]).toEqual([200, order]);
    await expectReverted(userId);
  });

  onShape('orders that are cancelled right after they are placed are reverted too', async () => {
    const userIds = Array.from({ length: 20 }, freshUser);
    const ids = await Promise.all(
      userIds.map(async (userId) => {
        const { id } = await placeOrder(on.orders, userId);
        // Without a body, as most clients send it.
        const answer = await call(`${on.orders}/orders/${id}/cancel`, { method: 'POST' });
        expect([answer.status, answer.json(schemas.order).status]).toEqual([200, 'cancelled']);
        return id;
      }),
    );
    for (const id of ids) await isReverted(id);
    for (const userId of userIds) await expectReverted(userId);
  });

  onShape('`sluice order` reports why the order of its key is cancelled', async () => {
    const [userId, key] = [freshUser(), randomUUID()];
    const placed = await postJson(`${on.orders}/orders`, orderOf(userId), { 'Idempotency-Key': key });
    const { id } = placed.json(schemas.order);
    await cancel(id, { reason: 'changed my mind' });
    const stdout = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    try {
      expect(await sluice(['order', '--url', on.orders, '--user', userId, '--key', key])).toBe(1);
      expect(stderr.mock.calls.join('')).toContain(`order ${id} is cancelled (changed my mind)`);
    } finally {
      stdout.mockRestore();
      stderr.mockRestore();
    }
  });

  onShape('twenty concurrent cancellations, over all processes, have the effect of one', async () => {
    const userId = freshUser();
    const { id } = await placeOrder(on.orders, userId);
    const together = gate(20);
    const processes = on.system.processes('order');
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        await together();
        return postJson(`${processes[index % processes.length]?.url}/orders/${id}/cancel`, { reason: `${index}` });
      }),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    await isReverted(id);
    await expectReverted(userId);
  });

  onShape('a flash sale releases the stock and sells it again', async () => {
    const gateway = on.system.url('flash-sale');
    const sale = await createSale(gateway, { stock: 1, queueCap: 5, drainPerSecond: 100 });
    const [first, second] = [freshUser(), freshUser()];
    const { ticketId } = ticketOf(await buy(gateway, sale.id, first));
    expect(await over(gateway, sale.id)).toMatchObject({ status: 'sold-out', stock: { sold: 1 } });
    const { orderId } = await readTicket(gateway, sale.id, ticketId);

    expect((await cancel(String(orderId))).status).toBe(200);
    await eventually(async () => (await readSale(gateway, sale.id)).status === 'open', {
      what: 'the sale is open again',
    });
    expect(await readTicket(gateway, sale.id, ticketId)).toEqual({ status: 'released', orderId });
    await isReverted(String(orderId));
    const bought = await eventually(
      async () => {
        const answer = await buy(gateway, sale.id, second);
        return answer.status === 202 && ticketOf(answer);
      },
      { what: 'the next buyer gets a ticket' },
    );
    const done = await over(gateway, sale.id);
    expect(done).toMatchObject({ stock: { remaining: 0, held: 0, sold: 1 }, counts: { admitted: 2, released: 1 } });
    expect((await readTicket(gateway, sale.id, bought.ticketId)).status).toBe('ordered');
  });

  whereSeparate(
    'an order that changes concurrently in each round is not cancelled, and the client is asked to retry',
    async () => {
      const { id } = await placeOrder(on.orders, freshUser());
      await query(
        String(on.system.databaseUrl),
        `CREATE FUNCTION change_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
       CREATE TRIGGER change_first BEFORE UPDATE OF state ON sluice_order.progress
         FOR EACH ROW WHEN (NEW.order_id = '${id}') EXECUTE FUNCTION change_first()`,
      );
      const answer = await cancel(id);
      expect([answer.status, answer.headers['retry-after']]).toEqual([503, '1']);
      expect(answer.body).toMatchObject({
        type: '/problems/unavailable',
        detail: 'Concurrent update, please retry.',
      });
      await query(String(on.system.databaseUrl), 'DROP TRIGGER change_first ON sluice_order.progress');
      expect((await cancel(id)).json(schemas.order)).toMatchObject({ id, status: 'cancelled' });
      await isReverted(id);
    },
  );

  describe('rejects', () => {
    onShape('an unknown order', async () => {
      for (const id of [randomUUID(), 'none']) expect((await cancel(id)).status).toBe(404);
    });

    onShape.for<[string, number, unknown]>([
      ['a reason that is too long', 422, { reason: 'x'.repeat(201) }],
      ['a reason with NUL', 422, { reason: 'a\u0000b' }],
      ['a reason that is not text', 422, { reason: 7 }],
      ['a body that is not an object', 422, '[]'],
      ['a body that is not JSON', 400, '{'],
    ])('%s with %d, and cancels nothing', async ([, status, body]) => {
      const { id } = await placeOrder(on.orders, freshUser());
      expect((await cancel(id, body)).status).toBe(status);
      expect((await completed(on.orders, id)).status).toBe('completed');
    });

    onShape('another method, and names the allowed one', async () => {
      for (const what of ['cancel', 'pay']) {
        const answer = await call(`${on.orders}/orders/${randomUUID()}/${what}`);
        expect([answer.status, answer.headers.allow]).toEqual([405, 'POST']);
      }
    });
  });
});
