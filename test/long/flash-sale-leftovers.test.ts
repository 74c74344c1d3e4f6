// When a sale has ended, the queue server keeps nothing of its queue, even if the processes died.
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { serviceNames } from '../../contracts/services.ts';
import { count, query } from '../fault/support/sql.ts';
import { buy, createSale, freshUsers, gatewaysOf, over, readSale } from '../service/support/flash-sales.ts';
import { onServers, type System } from '../service/support/systems.ts';
import { keysOf, rowsOf } from '../setup/queues.ts';
import { eventually } from '../setup/wait.ts';

const servers = inject('servers');
const processes = [serviceNames.filter((name) => name !== 'flash-sale'), ['flash-sale'], ['flash-sale']] as const;
const shapes = [
  ['Redis', onServers('two gateways on Redis', servers, processes, { bus: 'local', pace: 'redis' })],
  ['PostgreSQL', onServers('two gateways on PostgreSQL', servers, processes, { bus: 'local' })],
] as const;

describe.for(shapes)('paced by %s', ([pacedBy, shape]) => {
  const onShape = test.skipIf(!shape.available);
  let system: System;
  let redis: Redis;
  beforeAll(async () => {
    if (!shape.available) return;
    system = await shape.start();
    if (pacedBy === 'Redis') redis = new Redis(String(servers.redisUrl));
  });
  afterAll(async () => {
    redis?.disconnect();
    await system?.remove();
  });

  const databaseUrl = () => String(system.databaseUrl);
  const stored = () =>
    pacedBy === 'Redis'
      ? keysOf(redis, `${system.prefix}:`)
      : rowsOf((sql) => query(databaseUrl(), sql), `${system.prefix}.`);
  const isRemoved = () =>
    eventually(
      async () => {
        expect(await stored()).toEqual([]);
        return true;
      },
      { what: 'the queues are removed', timeoutMs: 20_000 },
    );
  const buyAll = async (saleId: string, users: number) => {
    const gateways = gatewaysOf(system);
    const answers = await Promise.all(
      freshUsers(users).map((user, index) => buy(String(gateways[index % gateways.length]), saleId, user)),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
  };
  const end = (saleId: string) =>
    query(databaseUrl(), `UPDATE sluice_flash_sale.sales SET closes_at = now() WHERE id = '${saleId}'`);
  const queued = (saleId: string) =>
    count(databaseUrl(), `sluice_flash_sale.tickets WHERE sale_id = '${saleId}' AND status = 'queued'`);

  onShape('removes the queue of a sale that ends while it is drained', async () => {
    const [url = ''] = gatewaysOf(system);
    const { id } = await createSale(url, { drainPerSecond: 20 });
    await buyAll(id, 50);
    await eventually(async () => (await stored()).length > 0, { what: 'the queue exists' });
    await end(id);
    await over(url, id);
    await isRemoved();
  });

  onShape(
    'removes the queues of sales that end while no process runs, with and without queued tickets',
    async () => {
      const [url = ''] = gatewaysOf(system);
      const gateways = system.processes('flash-sale');
      const [drained, waiting] = [await createSale(url), await createSale(url, { drainPerSecond: 10 })];
      await buyAll(drained.id, 20);
      await over(url, drained.id);
      await buyAll(waiting.id, 50);
      await Promise.all(gateways.map((each) => each.kill()));
      expect([await queued(drained.id), (await queued(waiting.id)) > 0]).toEqual([0, true]);
      for (const { id } of [drained, waiting]) await end(id);
      expect((await stored()).length).toBeGreaterThan(0);
      await Promise.all(gateways.map((each) => each.start()));
      await over(url, waiting.id);
      expect((await readSale(url, waiting.id)).counts).toMatchObject({ admitted: 50, ordered: 50 });
      await isRemoved();
    },
    60_000,
  );
});
