// A gateway learns of a sale that another gateway created, in time to warm up for it.
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import type { Database } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { warmUpPurchases } from '../../services/flash-sale/warm-up.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { JSON_TYPE, requestOf, send, serveBoth } from '../setup/front.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { openAlone } from '../setup/service-alone.ts';
import { eventually } from '../setup/wait.ts';

vi.mock('../../services/flash-sale/warm-up.ts', () => ({ warmUpPurchases: vi.fn(async () => ({})) }));

const { databaseUrl } = inject('servers');

describe.skipIf(!databaseUrl)('of two gateways on one PostgreSQL', () => {
  let database: Database;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const fresh = await freshDatabase(String(databaseUrl));
    drop = fresh.drop;
    database = openPostgres({ url: fresh.url, poolSize: 4, log: pino({ level: 'silent' }) });
  });
  afterAll(async () => {
    await database?.close();
    await drop?.();
  });

  /** Starts a gateway; `warmUps` returns the number of its warm-ups. */
  async function startGateway() {
    const log = pino({ level: 'silent' });
    const { service } = await openAlone(database, 'flash-sale', (context) =>
      flashSaleService({ ...context, queues: undefined, log }),
    );
    for (const loop of service.webLoops ?? []) loop.start();
    cleanUps.push(() => Promise.all((service.webLoops ?? []).map((loop) => loop.stop())));
    const warmUps = () => vi.mocked(warmUpPurchases).mock.calls.filter(([its]) => its === log).length;
    return { service, warmUps };
  }

  test('the one warms up for a sale that the other one created', async () => {
    const [one, other] = [await startGateway(), await startGateway()];
    const served = await serveBoth(one.service);
    cleanUps.push(() => served.close());
    expect([one.warmUps(), other.warmUps()]).toEqual([0, 0]);
    const [{ now }] = (await database.query<{ now: Date }>('SELECT now() AS now')) as [{ now: Date }];
    const sale = { sku: 'MUG', name: 'Mug', unitPrice: 100, currency: 'GBP', stock: 10, queueCap: 10 };
    const opensAt = new Date(now.getTime() + 9_000).toISOString();
    const body = Buffer.from(JSON.stringify({ ...sale, drainPerSecond: 1, opensAt }));
    const created = await send(served.front, requestOf({ path: '/flash-sales', headers: JSON_TYPE, body }));
    expect(created.status, created.body).toBe(201);
    await eventually(() => one.warmUps() === 1 && other.warmUps() === 1, { what: 'both are warm', timeoutMs: 9_000 });
  });
});
