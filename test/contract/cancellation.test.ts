// Cancellations at points, coupon and notify: the stored rows are the same whether the cancellation comes before, with
// or after the placing, once or repeatedly, in one process or in two at the same time.
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { couponService } from '../../services/coupon/index.ts';
import { notifyService } from '../../services/notify/index.ts';
import { pointsService } from '../../services/points/index.ts';
import { type Databases, databasePlaces } from '../setup/bus-fixtures.ts';
import { eventBody, openAlone, type ServiceAlone } from '../setup/service-alone.ts';

const { databaseUrl } = inject('servers');

const facts = { currency: 'GBP', total: 5_997, itemCount: 3 };
const placed = (orderId: string) => eventBody('order.placed', orderId, { orderId, userId: 'alice', ...facts });
const cancelled = (orderId: string) =>
  eventBody('order.cancelled', orderId, { orderId, userId: 'alice', reason: 'changed my mind', placed: facts });
const neverConfirmed = (orderId: string) =>
  eventBody('order.cancelled', orderId, { orderId, userId: 'alice', reason: 'not paid in time' });

const steps = [
  {
    name: 'points',
    create: pointsService,
    stored: `SELECT kind, points FROM sluice_points.entries WHERE order_id = $1 ORDER BY kind`,
    end: [
      { kind: 'award', points: 59 },
      { kind: 'revoke', points: -59 },
    ],
    endNeverConfirmed: [{ kind: 'revoke', points: 0 }],
    answer: 'points.revoked',
  },
  {
    name: 'coupon',
    create: couponService,
    stored: `SELECT amount, reason, revoked_at IS NOT NULL AS revoked FROM sluice_coupon.decisions WHERE order_id = $1`,
    end: [{ amount: 299, reason: null, revoked: true }],
    endNeverConfirmed: [{ amount: null, reason: 'cancelled before it was confirmed', revoked: true }],
    answer: 'coupon.revoked',
  },
  {
    name: 'notify',
    create: notifyService,
    stored: `SELECT kind, text FROM sluice_notify.notifications WHERE order_id = $1 ORDER BY kind`,
    end: [
      { kind: 'order.cancelled', text: 'Your order of 3 items for 59.97 GBP is cancelled: changed my mind.' },
      { kind: 'order.placed', text: 'Thank you: your order of 3 items for 59.97 GBP is placed.' },
    ],
    endNeverConfirmed: [{ kind: 'order.cancelled', text: 'Your order is cancelled: not paid in time.' }],
    answer: 'notification.sent',
  },
] as const;

describe.for(databasePlaces(databaseUrl))('on $place', ({ available, open }) => {
  const there = test.skipIf(!available);
  let databases: Databases;
  beforeAll(async () => {
    if (available) databases = await open();
  });
  afterAll(() => databases?.close());

  describe.for(steps)('$name', ({ name, create, stored, end, endNeverConfirmed, answer }) => {
    const one = () => openAlone(databases.database, name, create);
    const endOf = (orderId: string) => databases.database.query(stored, [orderId]);
    /** The latest event that the service wrote: the reply to the latest message. */
    const lastSaid = async ({ said }: ServiceAlone, orderId: string) => (await said(orderId)).at(-1);

    there.for<[string, (orderId: string) => (readonly Buffer[])[]]>([
      ['after the placing', (id) => [[placed(id)], [cancelled(id)]]],
      ['before the placing', (id) => [[cancelled(id)], [placed(id)]]],
      ['in one batch with the placing', (id) => [[placed(id), cancelled(id)]]],
      ['in one batch with the placing, before it', (id) => [[cancelled(id), placed(id)]]],
      ['without the placing', (id) => [[cancelled(id)]]],
      [
        'twice, as different events',
        (id) => [[cancelled(id)], [placed(id)], [cancelled(id), placed(id)], [cancelled(id)]],
      ],
    ])('a cancellation that comes %s has the same effects in the end', async ([, batches]) => {
      const service = await one();
      const orderId = uuidv7();
      for (const batch of batches(orderId)) await service.tell(...batch);
      expect(await endOf(orderId)).toEqual(end);
      expect(await lastSaid(service, orderId)).toMatchObject({ type: answer });
    });

    there('the reply to each later message is the same event', async () => {
      const service = await one();
      const orderId = uuidv7();
      const [early, cancellation] = [placed(orderId), cancelled(orderId)];
      await service.tell(early);
      await service.tell(cancellation);
      const revoked = await lastSaid(service, orderId);
      const told = [cancellation, early, placed(orderId), cancelled(orderId)];
      for (const message of told) await service.tell(message);
      await service.forget();
      for (const message of told) await service.tell(message);
      const said = await service.said(orderId);
      // One reply to the placing, one to the cancellation, and one to each later message.
      expect(said).toHaveLength(2 + 2 * told.length);
      expect(said.slice(1)).toEqual(Array.from({ length: 1 + 2 * told.length }, () => revoked));
    });

    there(
      'a cancellation of an order that was never confirmed gets a reply and leaves no effect to reverse',
      async () => {
        const service = await one();
        const orderId = uuidv7();
        await service.tell(neverConfirmed(orderId));
        await service.tell(neverConfirmed(orderId));
        expect(await endOf(orderId)).toEqual(endNeverConfirmed);
        expect((await service.said(orderId)).map(({ type }) => type)).toEqual([answer, answer]);
      },
    );

    there('a dead message is reported to the order service', async () => {
      const service = await one();
      const orderId = uuidv7();
      const unknown = placed(orderId).toString().replace('"type":"order.placed"', '"type":"order.unknown"');
      await service.receive(Buffer.from(unknown));
      expect((await service.said(orderId)).map(({ type }) => type)).toEqual(['step.failed']);
      await service.forget();
    });

    there('two processes that handle the placing and the cancellation concurrently store the same rows', async () => {
      const [here, elsewhere] = [await one(), await openAlone(await databases.open(), name, create)];
      const orderIds = Array.from({ length: 40 }, () => uuidv7());
      // In opposite order, so that the processes conflict on keys.
      await Promise.all([here.tell(...orderIds.map(placed)), elsewhere.tell(...orderIds.map(cancelled).reverse())]);
      for (const orderId of orderIds) {
        expect(await endOf(orderId)).toEqual(end);
        const answers = (await here.said(orderId)).map(({ type, data }) => [type, JSON.parse(data).kind]);
        expect(answers).toContainEqual([answer, name === 'notify' ? 'order.cancelled' : undefined]);
      }
    });
  });
});
