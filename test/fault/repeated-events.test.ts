// Every event is delivered three times, concurrently and shuffled; half of the cancellations arrive before the placing.
import { expect, inject, test } from 'vitest';
import { serviceNames } from '../../contracts/services.ts';
import { eventually } from '../setup/wait.ts';
import { openBroker, type Tapped } from './support/broker.ts';
import { isDrained } from './support/checker.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule } from './support/schedule.ts';
import { count, query } from './support/sql.ts';
import { eitherRoles, faultWith, startSystem } from './support/system.ts';

const ORDERS = 100;
/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl, amqpUrl: servers.amqpUrl };

test.each(eitherRoles)(
  'events that arrive three times, shuffled, have the same effects as once, roles %s',
  async (roles) => {
    const schedule = newSchedule();
    // Two processes of each service, so that the copies of one event meet in different processes; a small prefetch, so
    // that events are handled in the order of their arrival.
    const { processes, process, databaseUrl, prefix } = await startSystem({
      ...resources,
      roles,
      processes: [
        ['order'],
        ['points', 'coupon', 'notify', 'flash-sale'],
        ['points', 'coupon', 'notify', 'flash-sale'],
      ],
      env: { PREFETCH: '10' },
    });
    const broker = await openBroker(servers.amqpUrl ?? '', prefix);
    const consumers = processes.slice(1);

    // While the consumers are stopped, each order.placed and order.cancelled is published three times, shuffled.
    await Promise.all(consumers.map((each) => each.stop()));
    const tap = await broker.tap();
    const load = new Load({ urls: [process('order').url], schedule, cancels: 0.5 });
    await load.morePlaced(ORDERS);
    await load.stop();
    const orders = await count(databaseUrl, 'sluice_order.orders');
    const cancelled = await count(databaseUrl, `sluice_order.progress WHERE state = 'cancelled'`);
    await eventually(() => once(tap.events).length === orders + cancelled, {
      what: 'the events of all orders are published',
    });
    const published = once(tap.events);
    for (const service of ['points', 'coupon', 'notify']) await broker.purge(service);
    const shuffled = schedule.shuffled(threeTimes(published));
    const early = cancelledFirst(shuffled);
    expect(early).toBeGreaterThan(0.25 * cancelled);
    expect(early).toBeLessThan(0.75 * cancelled);
    await broker.publish(shuffled);
    await Promise.all(consumers.map((each) => each.start()));
    await eventually(() => isDrained(databaseUrl), { what: 'all messages are handled', timeoutMs: DONE_WITHIN_MS });
    const before = await endState(databaseUrl);
    expect(await effects(databaseUrl)).toEqual(await undisturbed(published, orders));

    // Then all events of all types are repeated.
    await broker.publish(schedule.shuffled(threeTimes(once(tap.events))));
    const over = performance.now();
    await eventually(
      async () => (await Promise.all(serviceNames.map(broker.waiting))).every((waiting) => waiting === 0),
      { what: 'the repeated events are consumed', timeoutMs: DONE_WITHIN_MS },
    );
    const fault = faultWith(roles, 'every event three times, shuffled, half of the cancellations early');
    const { failed } = await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
    expect(failed).toEqual([]);
    expect(await endState(databaseUrl)).toEqual(before);
  },
);

/** Removes copies: a relay publishes an event again if it gets no confirmation in time. */
const once = (events: readonly Tapped[]) => [
  ...new Map(events.map((event) => [event.body.toString(), event])).values(),
];
const threeTimes = (events: readonly Tapped[]) => events.flatMap((event) => [event, event, event]);

/** The number of orders whose order.cancelled comes before their order.placed. */
function cancelledFirst(events: readonly Tapped[]): number {
  const first = new Map<string, string>();
  for (const { routingKey, body } of events) {
    const { subject } = JSON.parse(body.toString()) as { subject: string };
    if (!first.has(subject)) first.set(subject, routingKey);
  }
  return [...first.values()].filter((routingKey) => routingKey === 'order.cancelled').length;
}

/** All rows that the events change. */
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

/** The effects of the events, without ids and times, which differ between runs. */
async function effects(databaseUrl: string) {
  const [points, coupons, notifications] = await Promise.all(
    [
      'SELECT order_id, kind, user_id, points FROM sluice_points.entries ORDER BY 1, 2',
      `SELECT order_id, user_id, amount, currency, reason, revoked_at IS NOT NULL AS revoked
       FROM sluice_coupon.decisions ORDER BY 1`,
      'SELECT order_id, kind, user_id, text FROM sluice_notify.notifications ORDER BY 1, 2',
    ].map((sql) => query(databaseUrl, sql)),
  );
  return { points, coupons, notifications };
}

/** The effects of the same events in another system, each published once and in order. */
async function undisturbed(events: readonly Tapped[], orders: number): Promise<Awaited<ReturnType<typeof effects>>> {
  const { databaseUrl, prefix } = await startSystem({ ...resources, processes: [['points', 'coupon', 'notify']] });
  const broker = await openBroker(servers.amqpUrl ?? '', prefix);
  await broker.publish(events);
  const handled = ['points', 'coupon', 'notify'].map(
    (service) => `(SELECT count(*) FROM sluice_${service}.inbox WHERE status = 'done')`,
  );
  await eventually(
    async () => {
      const [row] = await query<{ handled: number }>(databaseUrl, `SELECT (${handled.join(' + ')})::int AS handled`);
      return row?.handled === 3 * events.length;
    },
    { what: 'all events are handled in order', timeoutMs: DONE_WITHIN_MS },
  );
  const end = await effects(databaseUrl);
  expect(end.coupons).toHaveLength(orders);
  return end;
}
