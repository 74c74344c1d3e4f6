// Locks of PostgreSQL whose connection dies without either end noticing: the holder detects that and stops, and only
// then another process gets the lock.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { MqttBus } from '../../infra/bus/mqtt/index.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { connectTo } from '../../infra/mqtt/connect.ts';
import { ExternalPublisher } from '../../infra/mqtt/external-publisher.ts';
import { openQueues } from '../../infra/queue/index.ts';
import { Drain } from '../../services/flash-sale/drain.ts';
import { PaymentUnknown } from '../../services/order/payments/port.ts';
import { openEmbeddedProvider, openExclusively } from '../../simulators/payment-provider/embedded.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { type FreshDatabase, freshDatabase } from '../setup/postgres.ts';
import { startProxy } from '../setup/proxy.ts';
import { receiverWith } from '../setup/receiver.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const { databaseUrl, mosquittoUrl } = inject('servers');
const root = new URL('../../', import.meta.url);
const log = pino({ level: 'silent' });
/** The holder gives up after two intervals, the server after three. */
const PROBE_MS = 300;

describe.runIf(databaseUrl)('a lock on a dead connection', () => {
  let database: FreshDatabase;
  beforeAll(async () => {
    database = await freshDatabase(String(databaseUrl));
  });
  afterAll(() => database.drop());

  function open(url: string, timing: { lockProbeMs?: number }) {
    const opened = openPostgres({ url, poolSize: 2, log, ...timing });
    cleanUps.push(() => opened.close());
    return opened;
  }

  /** One process whose network can be made to drop all packets, and another process. */
  async function twoProcesses(timing: { lockProbeMs?: number } = { lockProbeMs: PROBE_MS }) {
    const proxy = await startProxy(database.url);
    cleanUps.push(() => proxy.close());
    const through = new URL(database.url);
    through.host = `127.0.0.1:${proxy.port}`;
    return { proxy, one: open(through.href, timing), other: open(database.url, timing) };
  }

  test.for([
    { timing: { lockProbeMs: PROBE_MS }, lostWithinMs: 2 * PROBE_MS },
    { timing: {}, lostWithinMs: 10_000 },
  ])(
    'is lost to its holder within $lostWithinMs ms, and only then free for another',
    { timeout: 60_000 },
    async ({ timing, lostWithinMs }) => {
      const { proxy, one, other } = await twoProcesses(timing);
      const lock = await one.tryLock('silent');
      let lostAt: number | undefined;
      const lost = lock?.lost.then(() => {
        lostAt = performance.now();
      });
      const silentAt = performance.now();
      proxy.swallow(true);
      const next = await eventually(() => other.tryLock('silent'), { what: 'the lock is free', timeoutMs: 30_000 });
      const freeAt = performance.now();
      await lost;
      expect(lostAt).toBeLessThan(freeAt);
      expect(Number(lostAt) - silentAt).toBeLessThan(lostWithinMs + 1_000);
      await next?.release();
      proxy.sever();
    },
  );

  test('is not lost while the server answers', async () => {
    const { one, other } = await twoProcesses();
    const lock = await one.tryLock('kept');
    let lost = false;
    void lock?.lost.then(() => {
      lost = true;
    });
    await delay(5 * PROBE_MS);
    expect(lost).toBe(false);
    expect(await other.tryLock('kept')).toBeUndefined();
    await lock?.release();
  });

  test('is released without waiting for the server', async () => {
    const { proxy, one } = await twoProcesses();
    const lock = await one.tryLock('released');
    proxy.swallow(true);
    const startedAt = performance.now();
    await lock?.release();
    expect(performance.now() - startedAt).toBeLessThan(PROBE_MS + 1_000);
    proxy.sever();
  });

  test.runIf(mosquittoUrl)('hands its MQTT session to the next process, which receives the next messages', async () => {
    const { proxy, one, other } = await twoProcesses();
    const url = String(mosquittoUrl);
    const topology = { prefix: freshPrefix(), groups: { points: ['order.placed'] } };
    const openBus = async (locks: typeof one) => {
      const publisher = new ExternalPublisher({ url, prefix: 'test', log });
      cleanUps.push(() => publisher.close());
      await eventually(() => publisher.health().status === 'up', { what: 'the publisher is connected' });
      const bus = new MqttBus({ topology, publisher, connect: connectTo(url), database: locks, log });
      const stored: string[] = [];
      const subscription = await bus.subscribe(
        'points',
        receiverWith({ enqueue: async (batch) => void stored.push(...batch.map(({ body }) => body.toString())) }),
      );
      cleanUps.push(() => subscription.close());
      return { bus, subscription, stored };
    };
    const first = await openBus(one);
    await eventually(() => first.subscription.health().status === 'up', { what: 'the first holds the session' });
    const second = await openBus(other);
    expect(second.subscription.health()).toEqual({ status: 'up', detail: 'standby' });

    proxy.swallow(true);
    const holds = () => second.subscription.health().status === 'up' && !second.subscription.health().detail;
    await eventually(holds, { what: 'the second holds the session' });
    expect(first.subscription.health().status).toBe('down');
    const id = randomUUID();
    expect(await second.bus.publish([{ id, type: 'order.placed', body: id }])).toEqual([]);
    await eventually(() => second.stored.includes(id), { what: 'it receives' });
    expect(first.stored).toEqual([]);
    proxy.sever();
    proxy.swallow(false);
  });

  test('closes the queues of a drain at once, even while the drain hangs', async () => {
    const { proxy, one, other } = await twoProcesses();
    await migrate(other, 'sluice_flash_sale', [
      ...(await readMigrations(new URL('infra/messaging/migrations/', root), 'messaging')),
      ...(await readMigrations(new URL('services/flash-sale/store/migrations/', root), 'flash-sale')),
    ]);
    await other.script(`
      INSERT INTO sluice_flash_sale.sales (id, sku, name, unit_price, currency, drain_per_second, hold_seconds, opens_at,
        last_admission_at, stock, remaining, held, queue_cap, queued, admitted)
      VALUES (gen_random_uuid(), 'lamp', 'Lamp', 1, 'GBP', 20, 0, now(), now(), 500, 0, 500, 500, 500, 500);
      INSERT INTO sluice_flash_sale.tickets (id, sale_id, number, user_id)
      SELECT gen_random_uuid(), id, n, n FROM sluice_flash_sale.sales, generate_series(1, 500) AS n;
    `);
    const queues = await openQueues({
      on: { postgresUrl: database.url, database: other },
      prefix: freshPrefix(),
      log,
    });
    cleanUps.push(() => queues.close());
    let lost: Promise<void> | undefined;
    const tryLock = async (name: string) => {
      const lock = await one.tryLock(name);
      lost = lock?.lost;
      return lock;
    };
    let accepted = 0;
    const drain = new Drain({
      database: { ...other, tryLock },
      queues,
      acceptance: {
        accept: async () => {
          accepted++;
        },
        onFailed: async () => {},
      },
      stalledAfterMs: 60_000,
      onRebuild: () => {},
      log,
    });
    drain.start();
    await eventually(() => accepted > 0, { what: 'it drains' });
    // From here on its turns block; the queue has jobs for another three seconds.
    await other.transaction(async (tx) => {
      await tx.execute('LOCK TABLE sluice_flash_sale.sales IN ACCESS EXCLUSIVE MODE');
      proxy.swallow(true);
      await lost;
      const atLoss = accepted;
      await delay(1_500);
      // Jobs that were claimed before still finish.
      expect(accepted - atLoss).toBeLessThanOrEqual(8);
      proxy.sever();
    });
    await drain.stop();
  });

  test('suspends the embedded payment provider until the lock is reacquired', async () => {
    const { proxy, one, other } = await twoProcesses();
    const dataDir = await mkdtemp(join(tmpdir(), 'sluice-locks-'));
    cleanUps.push(() => rm(dataDir, { recursive: true }));
    const provider = await openExclusively(one, log, () => openEmbeddedProvider({ dataDir, timeoutMs: 5_000, log }));
    cleanUps.push(() => provider.close());
    const charge = () => provider.charge({ orderId: randomUUID(), amount: 100, currency: 'GBP' });
    expect(await charge()).toBe('approved');

    proxy.swallow(true);
    const taken = await eventually(() => other.tryLock('sluice embedded payment provider'), { what: 'it is free' });
    proxy.sever();
    proxy.swallow(false);
    await expect(charge()).rejects.toBeInstanceOf(PaymentUnknown);
    await expect(provider.cancel(randomUUID())).rejects.toBeInstanceOf(PaymentUnknown);
    await taken?.release();
    expect(await eventually(() => charge(), { what: 'payments are possible again' })).toBe('approved');
  });
});
