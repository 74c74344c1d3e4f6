// Upgrades: the current build migrates each recorded data folder and dump of an earlier version (test/fixtures), reads
// it back unchanged and completes the unfinished work. The result does not depend on the date: all recorded time limits
// have passed, and a copy with times of years ago must give the same result.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { isEventType } from '../../contracts/events.ts';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import type { Order } from '../../contracts/orders.ts';
import { serviceNames } from '../../contracts/services.ts';
import type { Environment } from '../../demos/shared/child-process.ts';
import { createServiceProcess, type ServiceProcess, sluice } from '../fault/support/service-process.ts';
import { openStored, type Stored } from '../fault/support/stored.ts';
import { fixture, type RecordedShape, readJson, recordedVersions, renamed, unpack } from '../fixtures/folder.ts';
import { type Recorded, readOrders, readSales, type StoredOrders, type StoredSales } from '../fixtures/stored.ts';
import { buy, readTicket, ticketOf } from '../service/support/flash-sales.ts';
import { call, completed, freshUser, get, placeOrder, postJson, readOrder } from '../setup/api.ts';
import { freshDatabase } from '../setup/postgres.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';

const run = promisify(execFile);
const program = join(import.meta.dirname, '../../bin/sluice.js');
const { databaseUrl: databaseServer } = inject('servers');

interface Upgrade {
  readonly name: string;
  readonly version: string;
  readonly shape: RecordedShape;
  readonly settings?: Environment;
  /** Whether all times are first moved years into the past. */
  readonly aged?: true;
  /**
   * Whether resends are prevented for the order whose event the MQTT broker has kept, so that it arrives from there.
   */
  readonly onlyFromBroker?: true;
}

const upgrades = recordedVersions().flatMap((version): Upgrade[] => [
  { name: `the data folder of ${version}`, version, shape: 'embedded' },
  {
    name: `the data folder of ${version}, with the events over MQTT`,
    version,
    shape: 'embedded',
    settings: { EVENT_BUS: 'mqtt' },
    onlyFromBroker: true,
  },
  { name: `the dump of ${version}`, version, shape: 'postgres' },
  { name: `the dump of ${version} after years`, version, shape: 'postgres', aged: true },
]);

const AGE = `DO $$ DECLARE each record; BEGIN
  FOR each IN SELECT format('UPDATE %I.%I SET %s', table_schema, table_name,
      string_agg(format('%I = %1$I - interval ''3 years''', column_name), ', ')) AS statement
    FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema LIKE 'sluice%' AND table_type = 'BASE TABLE' AND data_type = 'timestamp with time zone'
    GROUP BY table_schema, table_name
  LOOP EXECUTE each.statement; END LOOP;
END $$`;
const later = (column: string, user: string) => `UPDATE sluice_order.progress SET ${column} = now() + interval '1 hour'
  WHERE order_id IN (SELECT id FROM sluice_order.orders WHERE user_id = '${user}')`;

/** Keys of the times in a response. */
const TIMES = new Set(['at', 'createdAt', 'expiresAt', 'opensAt', 'closesAt', 'receivedAt', 'nextAttemptAt']);

function withoutTimes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutTimes);
  if (value?.constructor !== Object) return value; // also an asymmetric matcher of expect
  const entries = Object.entries(value).filter(([key]) => !TIMES.has(key));
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutTimes(inner)]));
}

interface Restored {
  readonly process: ServiceProcess;
  readonly stored: Stored;
  readonly dataDir: string;
  remove(): Promise<void>;
}

/** A process that is not started yet. */
async function restore({ version, shape, settings, aged, onlyFromBroker }: Upgrade, prefix: string): Promise<Restored> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-upgrade-'));
  const database = shape === 'postgres' ? await freshDatabase(String(databaseServer)) : undefined;
  const stored: Stored = database ? { databaseUrl: database.url } : { dataDir };
  if (database) await runScript(database.url, await readFile(fixture(version, 'postgres/dump.sql'), 'utf8'));
  else await unpack(fixture(version, 'embedded/data.tar.br'), dataDir);
  const reader = await openStored(stored);
  if (aged) await reader.query(AGE);
  await reader.query(later('expires_at', 'payable'));
  const resendAt = version === '0.1.0' ? 'ask_again_at' : 'resend_at';
  if (onlyFromBroker) await reader.query(later(resendAt, 'kept-by-the-broker'));
  await reader.close();
  const process = await createServiceProcess('upgraded', sluice(), {
    DATA_DIR: dataDir,
    MQTT_PORT: '0',
    BUS_PREFIX: prefix,
    ...(database ? { DATABASE_URL: database.url } : {}),
    ...settings,
  });
  return {
    process,
    stored,
    dataDir,
    remove: async () => {
      await process.remove();
      await database?.drop();
      await rm(dataDir, { recursive: true });
    },
  };
}

async function runScript(databaseUrl: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

const byId = <Item extends { readonly id: string }>(items: readonly Item[]) =>
  new Map(items.map((item) => [item.id, item]));

describe.for(upgrades.map((upgrade) => [upgrade.name, upgrade] as const))('%s', ([, upgrade]) => {
  const { version, shape, aged } = upgrade;
  const onEmbedded = shape === 'embedded' ? test : () => {};
  const onShape = test.skipIf(shape === 'postgres' && databaseServer === undefined);

  let recorded: Recorded;
  let restored: Restored;
  let url: string;
  let orders: StoredOrders;
  let sales: StoredSales;

  beforeAll(async () => {
    if (shape === 'postgres' && databaseServer === undefined) return;
    recorded = renamed(version, await readJson<Recorded>(fixture(version, `${shape}/stored.json`)));
    restored = await restore(upgrade, recorded.prefix);
    await restored.process.start().catch(async (error) => {
      throw new Error(`${error}\n${(await restored.process.output()).slice(-2_000)}`, { cause: error });
    });
    url = restored.process.url;
  });
  afterAll(() => restored?.remove());

  const idOf = (user: string) => String(recorded.orders.find(({ userId }) => userId === user)?.id);
  const wasPaying = (id: string) => recorded.states.some((order) => order.id === id && order.state === 'paying');
  /** The final status of a recorded order, after the test paid the payable one. */
  const endOf = ({ id, userId, status }: Order): Order['status'] => {
    if (status !== 'awaiting-payment') return status === 'cancelled' ? 'cancelled' : 'completed';
    return userId === 'payable' || wasPaying(id) ? 'completed' : 'cancelled';
  };
  const isAtItsEnd = ({ status, steps }: Order) => {
    const ends = status === 'cancelled' ? ['reverted'] : ['done', 'skipped'];
    return Object.values(steps).every((step) => ends.includes(step.status));
  };

  /** The recorded values that must not change. */
  const asRecorded = (value: object) => (aged ? withoutTimes(value) : value) as object;
  const expectAll = (now: readonly { readonly id: string }[], expected: readonly { readonly id: string }[]) => {
    const found = byId(now);
    expect(expected.map(({ id }) => found.get(id))).toMatchObject(asRecorded(expected));
  };

  onShape('lists dead messages unchanged, and the order shows the failed step', async () => {
    for (const service of serviceNames) {
      const { items } = await get(`${url}/failed-messages/${service}?status=dead`, schemas.failedMessagesPage);
      const dead = recorded.failed[service].filter(({ status }) => status === 'dead');
      expectAll(items, dead);
      expect(items).toHaveLength(dead.length);
    }
    const { steps } = await readOrder(url, idOf('dead-step'));
    expect(steps.points.status).toBe('failed');
  });

  onShape('responds to a known idempotency key with its order', async () => {
    const { key, request, orderId } = recorded.keyed;
    const answer = await postJson(`${url}/orders`, request, { 'idempotency-key': key });
    expect(answer.status, answer.text).toBe(200);
    expect(answer.json(schemas.order).id).toBe(orderId);
  });

  onShape('accepts the payment of an order that awaits it', async () => {
    const answer = await call(`${url}/orders/${idOf('payable')}/pay`, { method: 'POST' });
    expect(answer.status, answer.text).toBe(200);
  });

  onShape('completes unfinished work, and dead messages after a retry', async () => {
    const dead = serviceNames.flatMap((service) =>
      recorded.failed[service].map((message) => ({ ...message, path: `/failed-messages/${service}/${message.id}` })),
    );
    for (const { path, status, type } of dead) {
      if (status !== 'dead' || !isEventType(String(type))) continue;
      const answer = await call(`${url}${path}/retry`, { method: 'POST' });
      expect(answer.status, answer.text).toBe(202);
    }
    await eventually(
      async () => {
        const { items } = await get(`${url}/audit/order?limit=5000`, schemas.factsPage(schemas.orderFact));
        expect(items.filter(({ open }) => open).map(({ userId }) => userId)).toEqual([]);
        sales = await readSales(url);
        const underWay = sales.tickets.filter(({ status }) => !['ordered', 'released', 'failed'].includes(status));
        expect(underWay).toEqual([]);
        return true;
      },
      { what: 'every order and ticket has its final status', timeoutMs: 20_000 },
    );
    orders = await readOrders(url);
    const now = byId(orders.orders);
    const ends = recorded.orders.map(({ id, userId }) => [userId, now.get(id)?.status]);
    expect(ends).toEqual(recorded.orders.map((order) => [order.userId, endOf(order)]));
    expect(orders.orders.filter((order) => !isAtItsEnd(order))).toEqual([]);
  });

  onShape('reads orders back as recorded, completely if they were final', async () => {
    const expected = recorded.orders.map((order) => {
      if (isAtItsEnd(order)) return order;
      const { steps: _, expiresAt: __, payment: ___, ...unchanged } = order;
      return { ...unchanged, status: endOf(order) };
    });
    expectAll(orders.orders, expected);
  });

  onShape('reads points, coupons and notifications back as recorded', async () => {
    expectAll(orders.points, recorded.points);
    expectAll(orders.notifications, recorded.notifications);
    const ends = new Map(recorded.orders.map((order) => [order.id, endOf(order)]));
    const statusNow = ({ orderId, status, expiresAt }: Recorded['coupons'][number]) => {
      if (ends.get(orderId) === 'cancelled') return 'revoked';
      return aged || Date.parse(expiresAt) <= Date.now() ? 'expired' : status;
    };
    expectAll(
      orders.coupons,
      recorded.coupons.map((coupon) => ({ ...coupon, status: statusNow(coupon) })),
    );
  });

  onShape('reads flash sales and closed tickets back as recorded', async () => {
    const waiting = ['queued', 'accepted', 'awaiting-payment'];
    const ends = new Map(recorded.orders.map((order) => [order.id, endOf(order)]));
    expectAll(
      sales.tickets,
      recorded.tickets.map(({ id, userId, status, orderId }) => ({
        id,
        userId,
        status: waiting.includes(status) || status === 'ordered' ? endOfTicket(orderId) : status,
        orderId: orderId ?? (waiting.includes(status) ? expect.any(String) : null),
      })),
    );
    function endOfTicket(orderId: string | null) {
      return orderId && ends.get(orderId) === 'cancelled' ? 'released' : 'ordered';
    }
    const now = byId(sales.sales);
    for (const { id, stock, status, queue, counts, ...sale } of recorded.sales) {
      expect(now.get(id)).toMatchObject(asRecorded({ ...sale, status }));
      const after = now.get(id) as FlashSale;
      expect(after.stock).toMatchObject({ initial: stock.initial, held: 0 });
      expect(after.stock.remaining + after.stock.sold).toBe(stock.initial);
      expect(after.counts.admitted).toBe(counts.admitted);
      expect(after.queue).toMatchObject({ length: 0, cap: queue.cap });
    }
  });

  onShape('leaves only unreadable messages in outboxes and inboxes', async () => {
    const summaries = await eventually(
      async () => {
        const all = await Promise.all(
          serviceNames.map((name) => get(`${url}/audit/${name}/messages`, schemas.messagesSummary)),
        );
        const waiting = all.flatMap(({ outbox, inbox }) => [outbox.bus, outbox.user, inbox.pending, inbox.retrying]);
        return waiting.every(({ rows }) => rows === 0) && all;
      },
      { what: 'no message is waiting', timeoutMs: 20_000 },
    );
    const unreadable = serviceNames.map((name) =>
      recorded.failed[name].filter(({ type }) => !isEventType(String(type))),
    );
    expect(summaries.map(({ inbox }) => inbox.dead.rows)).toEqual(unreadable.map(({ length }) => length));
  });

  onEmbedded('charges each payment once, and refunds the cancelled order', async () => {
    const lines = (await readFile(join(restored.dataDir, 'payments/journal.ndjson'), 'utf8')).trim().split('\n');
    const journal = lines.map((line) => JSON.parse(line) as { orderId: string; kind: string });
    const kindsOf = (user: string) => journal.flatMap(({ orderId, kind }) => (orderId === idOf(user) ? [kind] : []));
    expect(kindsOf('paid')).toEqual(['charged']);
    expect(kindsOf('paying')).toEqual(['charged']);
    expect(kindsOf('payable')).toEqual(['charged']);
    expect(kindsOf('refund-due')).toEqual(['charged', 'cancelled']);
  });

  onShape('accepts new orders and purchases', async () => {
    const sale = sales.sales.find(({ status, holdSeconds }) => status === 'open' && holdSeconds === 0);
    const { ticketId } = ticketOf(await buy(url, String(sale?.id), freshUser()));
    const { id } = await placeOrder(url, freshUser());
    await completed(url, id);
    const status = () => readTicket(url, String(sale?.id), ticketId);
    await eventually(async () => (await status()).status === 'ordered', { what: 'the ticket has its order' });
  });

  onShape('passes sluice audit, which counts all recorded orders', async () => {
    const { stdout } = await run(process.execPath, [program, 'audit', '--url', url, '--settle', '10s', '--json']);
    const { counts } = JSON.parse(stdout) as { counts: object };
    const ends = recorded.orders.map(endOf);
    const cancelled = ends.filter((end) => end === 'cancelled').length;
    const withoutOrder = recorded.tickets.filter(({ status }) => status === 'queued' || status === 'accepted').length;
    const confirmed = ends.length - cancelled + withoutOrder + 2;
    const everConfirmed = new Map(recorded.states.map((order) => [order.id, order.everConfirmed]));
    const reversals = recorded.orders.filter(
      (order) => endOf(order) === 'cancelled' && everConfirmed.get(order.id),
    ).length;
    expect(counts).toMatchObject({
      orders: { confirmed, cancelled, awaitingPayment: 0 },
      points: confirmed + cancelled + reversals,
      coupons: confirmed + cancelled,
      notifications: confirmed + cancelled + reversals,
      sales: recorded.sales.length,
      tickets: recorded.tickets.length + 1,
      underWay: { orders: 0, tickets: 0, overdue: 0 },
    });
  });

  onShape('stops cleanly, and keeps the record of every migration of the earlier version', async () => {
    expect(await restored.process.stop()).toEqual({ code: 0, signal: null });
    const applied = await readJson<object>(fixture(version, 'migrations.json'));
    const reader = await openStored(restored.stored);
    const schemaNames = serviceNames.map((name) => `sluice_${name.replaceAll('-', '_')}`);
    const known = await reader.query<{ name: string }>(
      schemaNames.map((schema) => `SELECT name FROM ${schema}.migrations`).join(' UNION '),
    );
    await reader.close();
    expect(known.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(applied)));
  });
});
