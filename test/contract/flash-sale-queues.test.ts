// The drain removes the queues of sales that are over, including those that an earlier process left, and no others.
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { admit, findSale, insertSale } from '../../services/flash-sale/store/sales.ts';
import { type Databases, pgliteInFolder } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { open, rowsOf } from '../setup/queues.ts';
import { openAlone } from '../setup/service-alone.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

let databases: Databases;
beforeAll(async () => {
  databases = await pgliteInFolder();
});
afterAll(() => databases?.close());

/** Starts a process that drains, and returns the function that stops it. */
async function startDraining(prefix: string): Promise<() => Promise<void>> {
  const queues = await open({ pglite: databases.database }, prefix);
  const { service } = await openAlone(databases.database, 'flash-sale', (context) =>
    flashSaleService({ ...context, queues }),
  );
  const loops = service.loops ?? [];
  for (const loop of loops) loop.start();
  let stopped: Promise<unknown> | undefined;
  const stop = async () => {
    stopped ??= Promise.all(loops.map((loop) => loop.stop()));
    await stopped;
  };
  cleanUps.push(stop);
  return stop;
}

/** A sale with this many queued tickets. */
async function sell(tickets: number): Promise<string> {
  const { database } = databases;
  const id = uuidv7();
  await insertSale(database, id, {
    sku: 'MUG',
    name: 'Mug',
    unitPrice: 100,
    currency: 'GBP',
    stock: 100,
    queueCap: 100,
    drainPerSecond: 100,
    holdSeconds: 0,
  });
  await buy(id, tickets);
  return id;
}

async function buy(saleId: string, tickets: number): Promise<void> {
  const requests = Array.from({ length: tickets }, () => ({ ticketId: uuidv7(), userId: uuidv7() }));
  const decisions = await admit(databases.database, saleId, requests);
  expect(decisions.map(({ outcome }) => outcome)).toEqual(requests.map(() => 'admitted'));
}

const end = (saleId: string) =>
  databases.database.execute('UPDATE sluice_flash_sale.sales SET closes_at = clock_timestamp() WHERE id = $1', [
    saleId,
  ]);

const empty = (saleId: string) =>
  eventually(async () => (await findSale(databases.database, saleId))?.queue.length === 0, {
    what: 'the queue is empty',
  });
const queuesOf = (prefix: string, saleId: string) =>
  rowsOf((sql) => databases.database.query(sql), `${prefix}.flash-sale-${saleId}`);

test('removes the queue of a sale that ended while the process ran or before it started', async () => {
  const prefix = freshPrefix();
  const stop = await startDraining(prefix);
  const [running, ending, later] = [await sell(30), await sell(30), await sell(30)];
  for (const id of [running, ending, later]) await empty(id);
  await end(ending);
  await eventually(async () => (await queuesOf(prefix, ending)).length === 0, { what: 'the first queue is removed' });
  for (const id of [running, later]) expect(await queuesOf(prefix, id)).not.toEqual([]);
  await stop();
  await end(later);
  expect(await queuesOf(prefix, later)).not.toEqual([]);
  await startDraining(prefix);
  await eventually(async () => (await queuesOf(prefix, later)).length === 0, { what: 'the second queue is removed' });
  await buy(running, 30);
  await empty(running);
}, 60_000);
