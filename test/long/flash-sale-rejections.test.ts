// Rejections are stored independently for each sale: a write that fails is retried at growing intervals, and delays no
// other sale.
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import type { PacedQueues } from '../../infra/queue/port.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { SaleAdmission } from '../../services/flash-sale/sale-admission.ts';
import { findSale, insertSale } from '../../services/flash-sale/store/sales.ts';
import { type Databases, databasePlaces, log } from '../setup/bus-fixtures.ts';
import { openAlone } from '../setup/service-alone.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');
describe.for(databasePlaces(databaseUrl))('on $place', ({ place, available, open }) => {
  const there = test.skipIf(!available);
  /** PGlite has a single session, in which no statement waits for a lock. */
  const withSessions = test.skipIf(!available || place === 'PGlite');
  let databases: Databases;
  beforeAll(async () => {
    if (!available) return;
    databases = await open();
    await openAlone(databases.database, 'flash-sale', (context) =>
      flashSaleService({ ...context, queues: {} as PacedQueues }),
    );
  });
  afterAll(() => databases?.close());

  /** Sales that are not open yet, so that every purchase is rejected. */
  async function startAdmission(sales: number) {
    const { database } = databases;
    const ids = Array.from({ length: sales }, () => uuidv7());
    for (const id of ids)
      await insertSale(database, id, {
        sku: 'MUG',
        name: 'Mug',
        unitPrice: 100,
        currency: 'GBP',
        stock: 10,
        queueCap: 10,
        drainPerSecond: 1,
        holdSeconds: 0,
        opensAt: new Date(Date.now() + 3_600_000).toISOString(),
      });
    const admission = new SaleAdmission({ database, onAdmitted: () => undefined, onDecision: () => undefined, log });
    admission.start();
    onTestFinished(() => admission.stop());
    const reject = async (saleId: string, times: number) => {
      for (let each = 0; each < times; each++)
        expect(await admission.decide({ saleId, userId: `user-${each}`, request: {} })).toMatchObject({
          outcome: 'not-open',
        });
    };
    const counted = async (saleId: string) => (await findSale(database, saleId))?.counts.rejected.notOpen;
    return { ids, admission, reject, counted };
  }

  /**
   * Makes the database run `hindrance` before each write of this sale's counts; resolves with a function that ends it.
   */
  async function hinder(saleId: string, hindrance: string): Promise<() => Promise<void>> {
    await databases.database.script(`
      CREATE SEQUENCE sluice_flash_sale.write_attempts;
      CREATE FUNCTION sluice_flash_sale.hinder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM nextval('sluice_flash_sale.write_attempts');
        ${hindrance};
        RETURN NEW;
      END $$;
      CREATE TRIGGER hinder BEFORE INSERT ON sluice_flash_sale.rejections
        FOR EACH ROW WHEN (NEW.sale_id = '${saleId}') EXECUTE FUNCTION sluice_flash_sale.hinder()`);
    const end = () =>
      databases.database.script(`DROP TRIGGER IF EXISTS hinder ON sluice_flash_sale.rejections;
        DROP FUNCTION IF EXISTS sluice_flash_sale.hinder; DROP SEQUENCE IF EXISTS sluice_flash_sale.write_attempts`);
    onTestFinished(end);
    return end;
  }

  there('retries a failed write with growing pauses, and stores the counts of the other sales meanwhile', async () => {
    const { ids, reject, counted } = await startAdmission(3);
    const [bad = '', ...good] = ids;
    const endHindrance = await hinder(bad, "RAISE EXCEPTION 'no room for this sale'");
    const attempts = async () => {
      const [row] = await databases.database.query<{ attempts: number }>(
        'SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS attempts FROM sluice_flash_sale.write_attempts',
      );
      return row?.attempts ?? 0;
    };
    await reject(bad, 5);
    await eventually(async () => (await attempts()) > 0, { what: 'a write is tried' });
    for (const id of good) await reject(id, 7);
    for (const id of good) await eventually(async () => (await counted(id)) === 7, { what: 'another sale is stored' });
    const from = performance.now();
    const before = await attempts();
    await eventually(async () => (await attempts()) >= before + 3, { what: 'three more attempts', timeoutMs: 30_000 });
    expect(performance.now() - from).toBeGreaterThan(700);
    await reject(bad, 4);
    for (const id of good) await reject(id, 2);
    for (const id of good)
      await eventually(async () => (await counted(id)) === 9, { what: 'another sale is stored again' });
    expect(await counted(bad)).toBe(0);
    await endHindrance();
    await eventually(async () => (await counted(bad)) === 9, { what: 'all counts are stored', timeoutMs: 15_000 });
  });

  withSessions('a write that hangs delays neither other sales nor the stop', async () => {
    const { ids, admission, reject, counted } = await startAdmission(2);
    const [bad = '', good = ''] = ids;
    const lock = 4_713;
    const held = await databases.open();
    onTestFinished(() => held.close());
    const released = held.transaction(async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(${lock})`);
      await hinder(bad, `PERFORM pg_advisory_xact_lock_shared(${lock})`);
      // One: a stop does not wait for those that come while the write hangs.
      await reject(bad, 1);
      await eventually(
        async () => {
          const [row] = await tx.query<{ waiting: number }>(
            `SELECT count(*) AS waiting FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
             WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted`,
          );
          return row?.waiting === 1;
        },
        { what: 'the write hangs' },
      );
      await reject(good, 3);
      await eventually(async () => (await counted(good)) === 3, { what: 'the other sale is stored' });
      const from = performance.now();
      await admission.stop();
      expect(performance.now() - from).toBeLessThan(5_000);
    });
    await released;
    await eventually(async () => (await counted(bad)) === 1, { what: 'the write that hung is committed' });
  });
});
