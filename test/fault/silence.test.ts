// Consumers that stop receiving under load, in whole processes: the broker closes their channels, an acknowledgement
// comes too late, another client takes over their session, Redis goes away and comes back. Each consumer recovers by
// itself; /healthz asks for a restart only if that may help. test/long/silent-consumers.test.ts tests the buses alone,
// lost-events.test.ts deleted queues, rabbitmq.test.ts connections that accept data but never respond.
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { expect, inject, onTestFinished, test } from 'vitest';
import { sessionOf } from '../../infra/bus/topology.ts';
import { connectTo, endConnection } from '../../infra/mqtt/connect.ts';
import { type Rabbitmq, startRabbitmq } from '../servers/rabbitmq.ts';
import { startRedis } from '../servers/redis.ts';
import { holdPoints } from '../service/support/hold-points.ts';
import { call, readReadiness } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { openSale, startSaleSystem } from './support/sale.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import type { ServiceProcess } from './support/service-process.ts';
import { startSystem } from './support/system.ts';

/** I7. Reconnecting alone may take 5 s. */
const DONE_WITHIN_MS = 30_000;
/** I7 if events are lost and their requests resent: after half a second, then after twice as long each time. */
const RESENT_WITHIN_MS = 45_000;
const WATCHDOG_MS = 1_000;
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl };

/** A private server until the test ends, so that no other test's channels are closed. */
async function ownRabbitmq(): Promise<Rabbitmq> {
  const rabbitmq = await startRabbitmq();
  onTestFinished(() => rabbitmq.stop());
  return rabbitmq;
}

const logs = (process: ServiceProcess, what: string | RegExp, timeoutMs = 20_000) =>
  eventually(async () => (await process.output()).search(what) >= 0, { what: `it logs ${what}`, timeoutMs });

/**
 * Has RabbitMQ close each consumer's channel with error 406, as if the consumer had acknowledged an unknown delivery:
 * once a second, so many times. Returns how many channels were closed.
 */
async function closeConsumers(rabbitmq: Rabbitmq, times: number): Promise<number> {
  const answer = await rabbitmq.ctl(
    'eval',
    `lists:sum([begin
       timer:sleep(1000),
       length([rabbit_channel:do(Channel, {'basic.ack', 4711000, false})
         || [{pid, Channel}, {consumer_count, Count}] <- rabbit_channel:info_all([pid, consumer_count]), Count > 0])
     end || _ <- lists:seq(1, ${times})]).`,
  );
  return Number(answer);
}

test('consumers resume each time RabbitMQ closes their channels', async () => {
  const rabbitmq = await ownRabbitmq();
  const schedule = newSchedule();
  const { processes, process, databaseUrl } = await startSystem({ ...resources, amqpUrl: rabbitmq.amqpUrl });
  const load = new Load({ urls: [process('order').url], schedule });
  await load.morePlaced(40);
  // Each service has a channel for its queue and one for its dead letters.
  expect(await closeConsumers(rabbitmq, rounds)).toBeGreaterThanOrEqual(2 * processes.length);
  const over = performance.now();
  // A delivery that RabbitMQ sent before it closed the channel makes amqplib give up the whole connection.
  for (const each of processes) await logs(each, /unknown delivery tag 4711000|Frame on unknown channel/);
  await load.morePlaced(40);
  const fault = "RabbitMQ closes the consumers' channels";
  await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
});

test('consumers resume after RabbitMQ timed out an acknowledgement', async () => {
  const rabbitmq = await ownRabbitmq();
  // In milliseconds, for channels opened from now on. By default RabbitMQ checks once a minute.
  await rabbitmq.ctl(
    'eval',
    'application:set_env(rabbit, consumer_timeout, 2000), application:set_env(rabbit, channel_tick_interval, 500).',
  );
  const schedule = newSchedule();
  const { process, databaseUrl } = await startSystem({ ...resources, amqpUrl: rabbitmq.amqpUrl });
  const load = new Load({ urls: [process('order').url], schedule });
  await load.morePlaced(40);
  const release = await holdPoints(databaseUrl);
  await load.morePlaced(40);
  await logs(process('points'), 'Timeout value used: 2000 ms', 60_000);
  await load.morePlaced(40);
  const over = performance.now();
  await release();
  const fault = 'acknowledgement timeout of RabbitMQ';
  const { failed } = await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
});

test('no effect is lost if other clients take over MQTT sessions and acknowledge their messages', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix } = await startSystem({ ...resources, env: { RESEND_AFTER_MS: '500' } });
  const load = new Load({ urls: [process('order').url], schedule });
  let stolen = 0;
  for (let round = 0; round < rounds; round++) {
    for (const service of schedule.shuffled(['order', 'points', 'coupon', 'notify'] as const)) {
      await load.morePlaced(20);
      // Disconnected a second later, when the service reconnects.
      const thief = connectTo(String(servers.mosquittoUrl))({
        clientId: sessionOf(prefix, service),
        clean: false,
        reconnectPeriod: 0,
      });
      thief.on('message', () => stolen++);
      let out = false;
      thief.on('close', () => {
        out = true;
      });
      await eventually(() => out, { what: `${service} has taken its session back` });
      await endConnection(thief);
    }
  }
  expect(stolen, 'no message was stolen, so the test proves nothing').toBeGreaterThan(0);
  await logs(process('points'), 'MQTT session lost its connection');
  const over = performance.now();
  const fault = 'MQTT sessions taken over by others';
  await conclude({ fault, rounds, databaseUrl, load, over, withinMs: RESENT_WITHIN_MS });
});

const healthCode = async ({ workerUrl }: ServiceProcess) => (await call(`${workerUrl}/healthz`)).status;

const readiness = ({ workerUrl }: ServiceProcess) => readReadiness(workerUrl);

async function saleOnRedis() {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const system = await startSaleSystem({
    ...resources,
    redisUrl: redis.redisUrl,
    gateways: 1,
    env: { WATCHDOG_MS: String(WATCHDOG_MS) },
  });
  const schedule = newSchedule();
  const terms = { stock: 100_000, queueCap: 60, drainPerSecond: 60 };
  const { saleId, buyers } = await openSale(system, schedule, terms);
  buyers.arrive(100);
  await buyers.moreAdmitted(60);
  return { ...system, redis, saleId, buyers, gateway: system.gateways[0] as ServiceProcess };
}

/** The sale's queue on Redis, opened without the service. Closed when the test ends. */
function queueByHand({ redis, saleId, prefix }: Awaited<ReturnType<typeof saleOnRedis>>): Queue {
  const connection = new Redis(redis.redisUrl, { maxRetriesPerRequest: null });
  const queue = new Queue(`flash-sale-${saleId}`, { connection, prefix });
  onTestFinished(async () => {
    await queue.close();
    connection.disconnect();
  });
  return queue;
}

test('/healthz stays 200 while Redis is away, and the queue resumes when Redis is back', async () => {
  const { redis, buyers, gateway, databaseUrl } = await saleOnRedis();
  await redis.kill();
  await eventually(async () => (await readiness(gateway)).resources.queues?.status === 'down', {
    what: 'Redis is reported down',
  });
  const rebuilds = async () => (await gateway.output()).split('job queue stalled').length - 1;
  const before = await rebuilds();
  const until = performance.now() + 6 * WATCHDOG_MS;
  const codes = new Set<number>();
  await eventually(
    async () => {
      codes.add(await healthCode(gateway));
      return performance.now() > until;
    },
    { what: 'six times the limit has passed' },
  );
  expect([...codes]).toEqual([200]);
  expect(await rebuilds(), 'a queue is not rebuilt while Redis is away').toBe(before);
  await redis.restart();
  const over = performance.now();
  await buyers.moreAdmitted(120);
  expect(await healthCode(gateway)).toBe(200);
  const fault = 'Redis down for a long time';
  await conclude({ fault, rounds: 1, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
});

test('/healthz is 503 while a queue on Redis hands out no jobs', async () => {
  const system = await saleOnRedis();
  const { buyers, gateway, databaseUrl } = system;
  const queue = queueByHand(system);
  // Its rate limit is used up; reopening the queue does not change that.
  await queue.rateLimit(600_000);
  await logs(gateway, 'job queue stalled, reopening it');
  await eventually(async () => (await healthCode(gateway)) === 503, {
    what: '/healthz asks for a restart',
    timeoutMs: 30_000,
  });
  await queue.removeRateLimitKey();
  const over = performance.now();
  await buyers.moreAdmitted(120);
  await eventually(async () => (await healthCode(gateway)) === 200, { what: 'the gateway is healthy again' });
  const fault = 'a queue on Redis stopped by hand';
  await conclude({ fault, rounds: 1, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
});

test('a queue on Redis that was paused by hand is reopened and resumes', async () => {
  const system = await saleOnRedis();
  const { buyers, gateway, databaseUrl } = system;
  const queue = queueByHand(system);
  await queue.pause();
  await logs(gateway, 'job queue stalled, reopening it');
  const over = performance.now();
  await buyers.moreAdmitted(120);
  const fault = 'a queue on Redis paused by hand';
  await conclude({ fault, rounds: 1, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
});
