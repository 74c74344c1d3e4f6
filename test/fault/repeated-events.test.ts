// Every event three times, concurrently and in any order.
import { expect, inject, test } from 'vitest';
import { serviceNames } from '../../contracts/services.ts';
import { eventually } from '../setup/wait.ts';
import { openBroker, type Tapped } from './support/broker.ts';
import { isDrained } from './support/checker.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule } from './support/schedule.ts';
import { count, query } from './support/sql.ts';
import { startSystem } from './support/system.ts';

const ORDERS = 100;
/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');

test('every event three times, concurrently and shuffled, leaves what it leaves once', async () => {
  const schedule = newSchedule();
  // Two processes of each service, so that the three of one event meet in different processes.
  const { processes, process, databaseUrl, prefix } = await startSystem({
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    amqpUrl: servers.amqpUrl,
    processes: [['order'], ['points', 'coupon', 'notify', 'flash-sale'], ['points', 'coupon', 'notify', 'flash-sale']],
  });
  const broker = await openBroker(servers.amqpUrl ?? '', prefix);
  const consumers = processes.slice(1);

  // While the consumers are away, each order.placed is made three, and these are shuffled.
  await Promise.all(consumers.map((each) => each.stop()));
  const placed = await broker.tap();
  const load = new Load({ urls: [process('order').url], schedule });
  await load.morePlaced(ORDERS);
  await load.stop();
  const orders = await count(databaseUrl, 'sluice_order.orders');
  await eventually(() => placed.events.length >= orders, { what: 'the events of all orders are published' });
  for (const service of ['points', 'coupon', 'notify']) await broker.purge(service);
  await broker.publish(schedule.shuffled(threeTimes(placed.events)));
  const tapped = await broker.tap();
  await Promise.all(consumers.map((each) => each.start()));
  await eventually(() => isDrained(databaseUrl), { what: 'everything is done', timeoutMs: DONE_WITHIN_MS });
  const before = await endState(databaseUrl);

  // Then all events of all types.
  await broker.publish(schedule.shuffled(threeTimes([...placed.events, ...tapped.events])));
  const over = performance.now();
  await eventually(
    async () => (await Promise.all(serviceNames.map(broker.waiting))).every((waiting) => waiting === 0),
    {
      what: 'the repeated events are taken in',
    },
  );
  const fault = 'every event three times, shuffled';
  const { failed } = await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expect(await endState(databaseUrl)).toEqual(before);
});

const threeTimes = (events: readonly Tapped[]) => events.flatMap((event) => [event, event, event]);

/** Everything that the events have an effect on. */
async function endState(databaseUrl: string): Promise<unknown> {
  const tables = [
    'sluice_order.progress',
    'sluice_points.entries',
    'sluice_coupon.decisions',
    'sluice_notify.notifications',
  ];
  const rows = [];
  for (const table of tables) rows.push(await query(databaseUrl, `SELECT * FROM ${table} ORDER BY order_id`));
  return rows;
}
