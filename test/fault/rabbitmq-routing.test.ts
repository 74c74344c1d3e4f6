// RabbitMQ runs, and a part of the route from an event to its queue is missing: a channel, a binding, the exchange, or
// the permission to declare them.
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { exchangeOf, queueOf } from '../../infra/bus/topology.ts';
import { type Rabbitmq, startRabbitmq } from '../servers/rabbitmq.ts';
import { call } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';
import { conclude } from './support/conclude.ts';
import { expectOnlySuccess, Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import type { ServiceProcess } from './support/service-process.ts';
import { query } from './support/sql.ts';
import { startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl };

/** A server of its own, to be broken. */
let rabbitmq: Rabbitmq;
beforeAll(async () => {
  rabbitmq = await startRabbitmq();
});
afterAll(() => rabbitmq?.stop());

test('recovers when the broker closes every channel and the connections stay open', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl } = await startSystem({ ...resources, amqpUrl: rabbitmq.amqpUrl });
  const load = new Load({ urls: [process('order').url], schedule });
  await load.morePlaced(20);
  const connections = await connectionPids();
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(20);
    await schedule.runFor(0, 500);
    // As if each had used a queue that does not exist, which is an error of the channel alone. Channels for a single
    // request are excluded: if both sides close a channel at once, amqplib ends the connection.
    const declaration = `{'queue.declare', 0, <<"no such queue">>, true, false, false, false, false, []}`;
    expect(
      await evaluate(`Kept = [Channel || Channel <- rabbit_channel:list(),
          [{confirm, Confirm}, {consumer_count, Consumers}] <- [catch rabbit_channel:info(Channel, [confirm, consumer_count])],
          Confirm orelse Consumers > 0],
        [rabbit_channel:do(Channel, ${declaration}) || Channel <- Kept], length(Kept)`),
    ).not.toBe('0');
  }
  const over = performance.now();
  const fault = 'every channel closed by RabbitMQ';
  const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  // Most of them: if RabbitMQ delivers on a channel after closing it, amqplib ends the connection.
  const now = await connectionPids();
  const kept = connections.filter((pid) => now.includes(pid));
  expect(kept.length, 'only the channels were closed').toBeGreaterThan(connections.length / 2);
  expectOnlySuccess(load);
});

test('keeps events without a binding in their outbox, with a warning, until they are bound again', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix } = await startSystem({ ...resources, amqpUrl: rabbitmq.amqpUrl });
  const load = new Load({ urls: [process('order').url], schedule });
  const points = process('points');
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(20);
    const before = await warnings(points, 'no queue is bound');
    // Only the order service receives points.awarded.
    await evaluate(deleteBindings(prefix, 'order', 'points.awarded'));
    await eventually(async () => (await warnings(points, 'no queue is bound')) > before, {
      what: 'the warning is logged',
    });
  }
  const over = performance.now();
  const fault = 'bindings removed by hand';
  const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expectOnlySuccess(load);
});

test('loses no event without its exchange and without the permission to declare it', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix } = await startSystem({ ...resources, amqpUrl: rabbitmq.amqpUrl });
  const order = process('order');
  const load = new Load({ urls: [order.url], schedule });
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(20);
    await rabbitmq.ctl('set_permissions', 'sluice', '^$', '.*', '.*');
    await evaluate(deleteExchange(prefix));
    const before = new Set(load.log.keys());
    await load.morePlaced(40);
    const since = [...load.log].flatMap(([key, { answers }]) =>
      before.has(key) ? [] : (answers.find(({ orderId }) => orderId)?.orderId ?? []),
    );
    expect(since.length).toBeGreaterThan(0);
    expect(await ordersInOutbox(databaseUrl), 'no event is published').toEqual(expect.arrayContaining(since));
    await eventually(async () => (await warnings(order, 'no exchange|ACCESS_REFUSED')) > 0, {
      what: 'the warning is logged',
    });
    const { status, text } = await call(`${order.url}/readyz`);
    expect(text).toMatch(/"status":"(down|degraded)"/);
    expect(status, 'orders are accepted meanwhile').toBe(200);
    await rabbitmq.ctl('set_permissions', 'sluice', '.*', '.*', '.*');
    const arePublished = async () => {
      const waiting = new Set(await ordersInOutbox(databaseUrl));
      return since.every((id) => !waiting.has(id));
    };
    await eventually(arePublished, { what: 'the events are published', timeoutMs: 20_000 });
  }
  const over = performance.now();
  const fault = 'no exchange, and no right to declare it';
  const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expectOnlySuccess(load);
});

/** Orders whose `order.placed` is not published yet. */
async function ordersInOutbox(databaseUrl: string): Promise<string[]> {
  const sql = `SELECT subject FROM sluice_order.outbox WHERE type = 'order.placed'`;
  return (await query<{ subject: string }>(databaseUrl, sql)).map(({ subject }) => subject);
}

/** Runs Erlang in the broker. */
const evaluate = async (expression: string) => (await rabbitmq.ctl('eval', `${expression}.`)).trim();

const connectionPids = async (): Promise<string[]> =>
  JSON.parse(await evaluate('[pid_to_list(Pid) || Pid <- rabbit_networking:connections()]'));

const erlang = (kind: string, name: string) => `rabbit_misc:r(<<"/">>, ${kind}, <<"${name}">>)`;
const topologyOf = (prefix: string) => ({ prefix, groups: {} });

const deleteExchange = (prefix: string) =>
  `rabbit_exchange:delete(${erlang('exchange', exchangeOf(topologyOf(prefix)))}, false, <<"by hand">>)`;

const deleteBindings = (prefix: string, service: string, type: string) =>
  `rabbit_binding:remove({binding, ${erlang('exchange', exchangeOf(topologyOf(prefix)))}, <<"${type}">>,
     ${erlang('queue', queueOf(topologyOf(prefix), service))}, []}, fun(_, _) -> ok end, <<"by hand">>)`;

/** The number of the process's warnings and errors that match. */
async function warnings({ output }: ServiceProcess, pattern: string): Promise<number> {
  const matches = new RegExp(pattern);
  return (await output()).split('\n').filter((line) => /"level":[45]0/.test(line) && matches.test(line)).length;
}
