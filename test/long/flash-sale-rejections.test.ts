// How many were rejected is counted sale by sale: one that cannot be counted is retried at growing intervals, and the
// others do not notice.
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import type { PacedQueues } from '../../infra/queue/port.ts';
import { Admission } from '../../services/flash-sale/admission.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { findSale, insertSale } from '../../services/flash-sale/store/sales.ts';
import { type Databases, log, pgliteInFolder, postgresAt } from '../setup/bus-fixtures.ts';
import { openAlone } from '../setup/service-alone.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');
const places = [
  { place: 'PostgreSQL', available: databaseUrl !== undefined, open: () => postgresAt(String(databaseUrl)) },
  { place: 'PGlite', available: true, open: pgliteInFolder },
];

describe.for(places)('on $place', ({ place, available, open }) => {
  const there = test.skipIf(!available);
  /** PGlite has one session, so no statement waits for another's lock. */
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

  /** Several sales that are not open yet, so that every purchase is rejected. */
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
    const admission = new Admission({ database, onAdmitted: () => undefined, log });
    admission.start();
    onTestFinished(() => admission.stop());
    const reject = async (saleId: string, times: number) => {
      for (let each = 0; each < times; each++)
        expect(await admission.decide(saleId, `user-${each}`)).toMatchObject({ outcome: 'not-open' });
    };
    const counted = async (saleId: string) => (await findSale(database, saleId))?.counts.rejected.notOpen;
    return { ids, admission, reject, counted };
  }

  /** Before each write of this sale's counts, the database does `hindrance`. */
  async function hinder(saleId: string, hindrance: string): Promise<() => Promise<void>> {
    await databases.database.script(`
      CREATE SEQUENCE sluice_flash_sale.attempts;
      CREATE FUNCTION sluice_flash_sale.hinder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM nextval('sluice_flash_sale.attempts');
        ${hindrance};
        RETURN NEW;
      END $$;
      CREATE TRIGGER hinder BEFORE INSERT ON sluice_flash_sale.rejections
        FOR EACH ROW WHEN (NEW.sale_id = '${saleId}') EXECUTE FUNCTION sluice_flash_sale.hinder()`);
    const end = () =>
      databases.database.script(`DROP TRIGGER IF EXISTS hinder ON sluice_flash_sale.rejections;
        DROP FUNCTION IF EXISTS sluice_flash_sale.hinder; DROP SEQUENCE IF EXISTS sluice_flash_sale.attempts`);
    onTestFinished(end);
    return end;
  }

  there('a sale that cannot be counted is retried with growing pauses, and the others are counted', async () => {
    const { ids, reject, counted } = await startAdmission(3);
    const [bad = '', ...good] = ids;
    const endHindrance = await hinder(bad, "RAISE EXCEPTION 'no room for this sale'");
    const attempts = async () => {
      const [row] = await databases.database.query<{ attempts: number }>(
        'SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS attempts FROM sluice_flash_sale.attempts',
      );
      return row?.attempts ?? 0;
    };
    await reject(bad, 5);
    await eventually(async () => (await attempts()) > 0, { what: 'it is tried' });
    for (const id of good) await reject(id, 7);
    for (const id of good) await eventually(async () => (await counted(id)) === 7, { what: 'a good one is counted' });
    const from = performance.now();
    const before = await attempts();
    await eventually(async () => (await attempts()) >= before + 3, { what: 'three more attempts' });
    expect(performance.now() - from).toBeGreaterThan(700);
    await reject(bad, 4);
    for (const id of good) await reject(id, 2);
    for (const id of good) await eventually(async () => (await counted(id)) === 9, { what: 'it is counted on' });
    expect(await counted(bad)).toBe(0);
    await endHindrance();
    await eventually(async () => (await counted(bad)) === 9, { what: 'all of it is counted', timeoutMs: 15_000 });
  });

  withSessions('a sale whose count hangs holds up no other, nor the stop', async () => {
    const { ids, admission, reject, counted } = await startAdmission(2);
    const [bad = '', good = ''] = ids;
    const lock = 4_713;
    const held = await databases.open();
    onTestFinished(() => held.close());
    const released = held.transaction(async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(${lock})`);
      await hinder(bad, `PERFORM pg_advisory_xact_lock_shared(${lock})`);
      await reject(bad, 3);
      await eventually(
        async () => {
          const [row] = await tx.query<{ waiting: number }>(
            `SELECT count(*) AS waiting FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
             WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted`,
          );
          return row?.waiting === 1;
        },
        { what: 'its count hangs' },
      );
      await reject(good, 3);
      await eventually(async () => (await counted(good)) === 3, { what: 'the other one is counted' });
      const from = performance.now();
      await admission.stop();
      expect(performance.now() - from).toBeLessThan(5_000);
    });
    await released;
    await eventually(async () => (await counted(bad)) === 3, { what: 'what hung is counted after all' });
  });
});
