// The HTTP responses about flash sales, for programs and browsers: bodies, statuses, headers and pages.
import { describe, expect, inject, vi } from 'vitest';
import type { Rejection } from '../../contracts/flash-sales.ts';
import { type Answer, call, completed, freshUser, get, pages, postJson } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';
import { onEachShape } from './support/each-shape.ts';
import {
  asBrowser,
  Buyers,
  buy,
  buyByForm,
  createSale,
  freshUsers,
  over,
  readSale,
  readTicket,
  saleOf,
  ticketOf,
} from './support/flash-sales.ts';
import { embedded, gatewaysOnPostgres } from './support/systems.ts';

// Takes seconds on an idle machine.
vi.setConfig({ testTimeout: 120_000 });

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const shapes = [embedded, gatewaysOnPostgres(inject('servers'))];

/** The gateway passes on a request whose path is not in its usual form, such as one with the sale's id in capitals. */
const ways = [
  ['in front of Express', (saleId: string) => saleId],
  ['by the routes', (saleId: string) => saleId.toUpperCase()],
] as const;

onEachShape({ shapes }, (on) => {
  const onShape = on.test;

  const soon = (ms: number) => new Date(Date.now() + ms).toISOString();
  /** A sale with a full queue, which at most a few tickets leave before the test is over. */
  const fullSale = async (queueCap: number) => {
    const sale = await createSale(on.url, { stock: 1_000, queueCap, drainPerSecond: 1 });
    const users = freshUsers(2 * queueCap);
    let rejected: Answer | undefined;
    for (const user of users) {
      const answer = await buy(on.url, sale.id, user);
      if (answer.status === 429) rejected = answer;
      if (rejected) break;
    }
    if (!rejected) throw new Error('the queue was never full');
    return { sale, rejected };
  };

  function expectRejected(answer: Answer, status: number, name: Rejection): void {
    expect(answer.status, answer.text).toBe(status);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.headers.vary).toMatch(/\bAccept\b/i);
    expect(answer.body).toEqual({
      type: `/problems/${name}`,
      title: expect.stringMatching(/./),
      status,
      detail: expect.stringMatching(/./),
    });
  }

  /** Follows a browser's redirect to a page with status 200. */
  async function followed(answer: Answer): Promise<{ location: string; page: Answer }> {
    expect(answer.status, answer.text).toBe(303);
    expect(answer.headers.vary).toMatch(/\bAccept\b/i);
    const location = String(answer.headers.location);
    const page = await call(`${on.url}${location}`, { headers: asBrowser });
    expect(page.status, page.text).toBe(200);
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.headers.vary).toMatch(/\bAccept\b/i);
    return { location, page };
  }

  describe('a sale', () => {
    onShape('is created as requested, and Location names it', async () => {
      const opensAt = '2099-12-31T23:02:03.456Z';
      const body = saleOf({ opensAt, closesAt: '2100-01-02T01:00:00+01:00' });
      const answer = await postJson(`${on.url}/flash-sales`, body);
      expect(answer.status, answer.text).toBe(201);
      const sale = answer.json(schemas.flashSale);
      expect(answer.headers.location).toBe(`/flash-sales/${sale.id}`);
      expect(sale).toEqual({
        id: expect.stringMatching(UUID_V7),
        sku: 'LAMP',
        name: 'Lamp',
        unitPrice: 5_900,
        currency: 'GBP',
        queueCap: 50,
        drainPerSecond: 100,
        holdSeconds: 0,
        opensAt,
        closesAt: '2100-01-02T00:00:00.000Z',
        status: 'scheduled',
        stock: { initial: 100, remaining: 100, held: 0, sold: 0 },
        queue: { length: 0, cap: 50 },
        counts: { admitted: 0, ordered: 0, released: 0, rejected: { queueFull: 0, soldOut: 0, notOpen: 0 } },
      });
      const read = await call(`${on.url}/flash-sales/${sale.id}`);
      expect([read.status, read.body]).toEqual([200, sale]);
      expect(read.headers.vary).toMatch(/\bAccept\b/i);
    });

    onShape('opens at once and never closes, unless the request says when', async () => {
      const sale = await createSale(on.url);
      expect(sale).toMatchObject({ status: 'open', opensAt: expect.stringMatching(INSTANT), closesAt: null });
      expect(Math.abs(Date.parse(sale.opensAt) - Date.now())).toBeLessThan(10_000);
    });
  });

  describe('creating a sale again with the same Idempotency-Key', () => {
    const create = (key: string, changes: object = {}) =>
      postJson(`${on.url}/flash-sales`, saleOf(changes), { 'idempotency-key': key });

    onShape('returns the sale as it is now, even when it is over', async () => {
      const key = `key-${freshUser()}`;
      const closesAt = soon(1_000);
      const created = await create(key, { closesAt });
      expect([created.status, created.headers['idempotency-replayed']]).toEqual([201, undefined]);
      const { id } = created.json(schemas.flashSale);
      await eventually(async () => (await readSale(on.url, id)).status === 'closed', { what: 'the sale is closed' });
      const again = await create(key, { closesAt: closesAt.replace('Z', '+00:00') });
      expect([again.status, again.headers['idempotency-replayed']]).toEqual([200, 'true']);
      expect(again.headers.location).toBe(`/flash-sales/${id}`);
      expect(again.json(schemas.flashSale)).toEqual(await readSale(on.url, id));
      expect(again.json(schemas.flashSale).status).toBe('closed');
    });

    onShape('is rejected with other terms', async () => {
      const key = `key-${freshUser()}`;
      const { id } = (await create(key)).json(schemas.flashSale);
      for (const changes of [
        { stock: 101 },
        { name: 'Lamps' },
        { closesAt: '2099-01-01T00:00:00Z' },
        { holdSeconds: 1 },
      ]) {
        const other = await create(key, changes);
        expect([other.status, other.json(schemas.problem).type]).toEqual([422, '/problems/idempotency-key-reused']);
      }
      expect((await create(key, { holdSeconds: 0, closesAt: null })).json(schemas.flashSale).id).toBe(id);
    });

    onShape('makes one sale of many concurrent requests, at any gateway', async () => {
      const key = `key-${freshUser()}`;
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          postJson(`${on.gateways[index % on.gateways.length]}/flash-sales`, saleOf(), { 'idempotency-key': key }),
        ),
      );
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(19);
      expect(new Set(answers.map((answer) => answer.json(schemas.flashSale).id)).size).toBe(1);
    });
  });

  describe('the list of sales', () => {
    onShape('has the newest first, in pages, and can be filtered by status', async () => {
      const scheduled = await createSale(on.url, { opensAt: soon(3_600_000) });
      const soldOut = await createSale(on.url, { stock: 1 });
      await buy(on.url, soldOut.id, freshUser());
      await over(on.url, soldOut.id);
      const open = await createSale(on.url);
      const all = (await pages(`${on.url}/flash-sales?limit=2`, schemas.flashSalesPage)).flat();
      expect(all.slice(0, 3).map(({ id }) => id)).toEqual([open.id, soldOut.id, scheduled.id]);
      expect(all[1]).toEqual(await readSale(on.url, soldOut.id));
      expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
      for (const [status, sale] of [
        ['open', open],
        ['scheduled', scheduled],
        ['sold-out', soldOut],
      ] as const) {
        const listed = (await pages(`${on.url}/flash-sales?status=${status}&limit=3`, schemas.flashSalesPage)).flat();
        expect(listed.map(({ id }) => id)).toContain(sale.id);
        expect(new Set(listed.map((each) => each.status))).toEqual(new Set([status]));
      }
      expect((await call(`${on.url}/flash-sales?status=over`)).json(schemas.problem).errors).toMatchObject([
        { path: 'status' },
      ]);
    });
  });

  describe.for(ways)('a purchase %s', ([, path]) => {
    onShape(
      'is 202 with a ticket and its position, then 200 with the same ticket, even after it is ordered',
      async () => {
        const sale = await createSale(on.url);
        const userId = freshUser();
        const answer = await buy(on.url, path(sale.id), userId);
        expect(answer.status, answer.text).toBe(202);
        const purchase = answer.json(schemas.purchase);
        expect(purchase).toEqual({
          ticketId: expect.stringMatching(UUID_V7),
          position: 1,
          statusUrl: `/flash-sales/${sale.id}/purchases/${purchase.ticketId}`,
        });
        expect(answer.headers.location).toBe(purchase.statusUrl);
        expect(answer.headers.vary).toMatch(/\bAccept\b/i);

        const ticket = await eventually(
          async () => {
            const now = await readTicket(on.url, path(sale.id), purchase.ticketId);
            return now.status === 'ordered' && now;
          },
          { what: 'the ticket is ordered' },
        );
        expect(ticket).toEqual({ status: 'ordered', orderId: expect.stringMatching(UUID_V7) });
        const order = await completed(on.system.url('order'), String(ticket.orderId));
        expect(order).toMatchObject({ userId, total: 5_900, currency: 'GBP' });
        expect(order.items).toEqual([{ sku: 'LAMP', name: 'Lamp', quantity: 1, unitPrice: 5_900 }]);

        const again = await buy(on.url, path(sale.id), userId);
        expect([again.status, again.body]).toEqual([200, { ...purchase, position: 0 }]);
        expect(again.headers.location).toBe(purchase.statusUrl);
        expect((await over(on.url, sale.id)).counts).toMatchObject({ admitted: 1, ordered: 1 });
      },
    );

    onShape('accepts a form too, and responds to programs in JSON', async () => {
      const sale = await createSale(on.url);
      const userId = freshUser();
      const form = await call(`${on.url}/flash-sales/${path(sale.id)}/purchases`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: `userId=${userId}`,
      });
      expect(form.status, form.text).toBe(202);
      for (const accept of ['*/*', 'application/json', 'application/json, text/html;q=0.9', 'image/png']) {
        const again = await buy(on.url, path(sale.id), userId, { accept });
        expect(again.status).toBe(200);
        expect(ticketOf(again).ticketId).toBe(ticketOf(form).ticketId);
      }
    });

    onShape('is 429 for a full queue, with the time until another attempt is worthwhile', async () => {
      const { sale, rejected } = await fullSale(20);
      const delays = new Set<number>();
      for (const user of freshUsers(30)) {
        // Rejections by the row and by the snapshot look the same.
        const answer = await buy(on.url, path(sale.id), user);
        if (answer.status !== 429) continue;
        expectRejected(answer, 429, 'queue-full');
        expect(answer.headers['retry-after']).toMatch(/^[1-9]\d*$/);
        delays.add(Number(answer.headers['retry-after']));
      }
      expectRejected(rejected, 429, 'queue-full');
      // About twenty seconds, spread over half to one and a half times as much.
      expect(Math.min(...delays)).toBeGreaterThanOrEqual(8);
      expect(Math.max(...delays)).toBeLessThanOrEqual(31);
      expect(delays.size).toBeGreaterThan(5);
    });

    onShape(
      'is 409 for a sold-out sale, and 409 with the time until it opens for a sale that is not open',
      async () => {
        const soldOut = await createSale(on.url, { stock: 1 });
        expect((await buy(on.url, path(soldOut.id), freshUser())).status).toBe(202);
        const closed = await createSale(on.url, { closesAt: soon(300) });
        await eventually(async () => (await readSale(on.url, closed.id)).status === 'closed', {
          what: 'the sale is closed',
        });
        const scheduled = await createSale(on.url, { opensAt: soon(3_600_000) });
        // Three times each: by the row without and with a snapshot, and by the snapshot.
        for (let turn = 0; turn < 3; turn++) {
          const sold = await buy(on.url, path(soldOut.id), freshUser());
          expectRejected(sold, 409, 'sold-out');
          expect(sold.headers['retry-after']).toBeUndefined();

          const over = await buy(on.url, path(closed.id), freshUser());
          expectRejected(over, 409, 'not-open');
          expect(over.body).toMatchObject({ title: 'The sale is closed' });
          expect(over.headers['retry-after']).toBeUndefined();

          const early = await buy(on.url, path(scheduled.id), freshUser());
          expectRejected(early, 409, 'not-open');
          expect(early.body).toMatchObject({ title: 'The sale is not open yet' });
          expect(Number(early.headers['retry-after'])).toBeGreaterThan(3_590);
          expect(Number(early.headers['retry-after'])).toBeLessThanOrEqual(3_603);
        }
        for (const [id, rejected] of [
          [soldOut.id, { queueFull: 0, soldOut: 3, notOpen: 0 }],
          [closed.id, { queueFull: 0, soldOut: 0, notOpen: 3 }],
          [scheduled.id, { queueFull: 0, soldOut: 0, notOpen: 3 }],
        ] as const) {
          await eventually(
            async () => {
              expect((await readSale(on.url, id)).counts.rejected).toEqual(rejected);
              return true;
            },
            { what: 'the rejections are counted' },
          );
        }
      },
    );
  });

  describe('a purchase', () => {
    on.concurrentTest('is rejected as closed although an earlier snapshot shows the sale as open', async () => {
      const sale = await createSale(on.url, { stock: 2, queueCap: 1, drainPerSecond: 1, closesAt: soon(4_000) });
      // The gateway reads the sale while it is open.
      expect((await buy(on.url, sale.id, freshUser())).status).toBe(202);
      for (const user of freshUsers(2)) await buy(on.url, sale.id, user);
      await eventually(async () => (await readSale(on.url, sale.id)).status === 'closed', {
        what: 'the sale is closed',
      });
      const answer = await buy(on.url, sale.id, freshUser());
      expectRejected(answer, 409, 'not-open');
      expect(answer.body).toMatchObject({ title: 'The sale is closed' });
    });

    on.concurrentTest('gets a shorter Retry-After the closer the opening is', async () => {
      const opensAt = Date.now() + 9_000;
      const sale = await createSale(on.url, { opensAt: new Date(opensAt).toISOString() });
      const early = await buy(on.url, sale.id, freshUser());
      expect(Number(early.headers['retry-after'])).toBeGreaterThanOrEqual(8);
      await eventually(() => Date.now() > opensAt - 5_000, { what: 'five seconds are left' });
      const later = await buy(on.url, sale.id, freshUser());
      expect(later.status).toBe(409);
      // With the earlier value, an obedient buyer would come later than the others.
      expect(Number(later.headers['retry-after'])).toBeLessThanOrEqual(8);
    });

    on.concurrentTest(
      'is never rejected with the Retry-After of an older snapshot when the queue fills at the opening',
      async () => {
        const opensAt = Date.now() + 4_000;
        const sale = await createSale(on.url, {
          stock: 1_000,
          queueCap: 60,
          drainPerSecond: 1,
          opensAt: new Date(opensAt).toISOString(),
        });
        expect((await buy(on.url, sale.id, freshUser())).status).toBe(409);
        await eventually(() => Date.now() > opensAt + 20, { what: 'the sale is open' });
        const bought = await new Buyers().rush([on.url], sale.id, freshUsers(180));
        const rejected = bought.map(({ answer }) => answer).filter(({ status }) => status === 429);
        expect(rejected.length).toBeGreaterThan(100);
        expect(Math.min(...rejected.map(({ headers }) => Number(headers['retry-after'])))).toBeGreaterThanOrEqual(25);
      },
    );
  });

  describe.for(ways)('a browser %s', ([, path]) => {
    onShape('gets the page of the sale, sends its form, and is redirected to the page of its ticket', async () => {
      const sale = await createSale(on.url, { name: 'Lamp <b>&"' });
      const page = await call(`${on.url}/flash-sales/${sale.id}`, { headers: asBrowser });
      expect(page.status).toBe(200);
      expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
      expect(page.headers['content-security-policy']).toMatch(/default-src 'none'/);
      expect(page.text).toContain(`action="/flash-sales/${sale.id}/purchases"`);
      expect(page.text).toContain('Lamp &lt;b&gt;');

      const userId = freshUser();
      const bought = await buyByForm(on.url, path(sale.id), { userId });
      const { location, page: ticketPage } = await followed(bought);
      const { ticketId } = ticketOf(await buy(on.url, path(sale.id), userId));
      expect(location).toBe(`/flash-sales/${sale.id}/purchases/${ticketId}`);
      expect(ticketPage.text).toContain(ticketId);
      // A returning buyer is redirected to the same page, which ends with the order.
      expect((await followed(await buyByForm(on.url, path(sale.id), { userId }))).location).toBe(location);
      await over(on.url, sale.id);
      const { orderId } = await readTicket(on.url, path(sale.id), ticketId);
      const last = (await followed(await buyByForm(on.url, path(sale.id), { userId }))).page;
      expect(last.text).toContain(`/orders/${orderId}`);
    });

    onShape('is redirected to the page with the reason of a rejection', async () => {
      const { sale: full } = await fullSale(5);
      const soldOut = await createSale(on.url, { stock: 1 });
      await buy(on.url, path(soldOut.id), freshUser());
      const scheduled = await createSale(on.url, { opensAt: soon(3_600_000) });
      const reasons: [string, Rejection, RegExp][] = [
        [soldOut.id, 'sold-out', /Sold out/],
        [scheduled.id, 'not-open', /not open yet/],
        [full.id, 'queue-full', /The queue is full/],
      ];
      for (const [saleId, reason, message] of reasons) {
        await eventually(
          async () => {
            const answer = await buyByForm(on.url, path(saleId), { userId: freshUser() });
            if (String(answer.headers.location).includes('/purchases/')) return false; // a ticket has left the queue
            const { location, page } = await followed(answer);
            expect(location).toContain(`/flash-sales/${saleId}/rejected?reason=${reason}&`);
            expect(page.text).toMatch(message);
            expect(page.text).not.toMatch(/<script[^>]+src=|<link[^>]+href=/);
            return true;
          },
          { what: `the page about ${reason}` },
        );
      }
    });
  });

  onShape('the readiness of a gateway includes its queues', async () => {
    const readiness = await get(`${on.url}/readyz`, schemas.readiness);
    expect(readiness.resources).toMatchObject({ queues: { status: 'up' } });
    expect(readiness.consumers).toHaveProperty('flash-sale');
    if (on.system.url('order') !== on.url) {
      const shop = await get(`${on.system.url('order')}/readyz`, schemas.readiness);
      expect(shop.resources).not.toHaveProperty('queues');
    }
  });
});
