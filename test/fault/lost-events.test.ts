// Events that a broker forgets: whoever asked asks again, and gets the answer that was given. Here, and only here,
// orders are asked for again soon.
import { expect, inject, onTestFinished, test } from 'vitest';
import { serviceNames } from '../../contracts/services.ts';
import { startMosquitto } from '../../infra/local/mosquitto.ts';
import { schemaOf } from '../../services/service.ts';
import { eventually } from '../setup/wait.ts';
import { openBroker } from './support/broker.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { retryDead } from './support/service-process.ts';
import { count, query } from './support/sql.ts';
import { startSystem } from './support/system.ts';

/** I7. The second question comes a second after the first, the third two seconds later, and so on. */
const DONE_WITHIN_MS = 45_000;
const env = { ASK_AGAIN_MS: '500' };
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl };

test("each service's queue is deleted by hand while orders flow", async () => {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix } = await startSystem({
    ...resources,
    amqpUrl: servers.amqpUrl,
    // RabbitMQ does not always tell the consumer of a quorum queue that it is gone, where a publisher declares it again
    // at once. Then the watchdog finds that the consumer is silent.
    env: { ...env, WATCHDOG_MS: '2000' },
  });
  const broker = await openBroker(servers.amqpUrl ?? '', prefix);
  const load = new Load({ urls: [process('order').url], schedule });
  for (let round = 0; round < rounds; round++) {
    for (const service of schedule.shuffled(serviceNames)) {
      await load.morePlaced(20);
      await broker.deleteQueue(service);
    }
  }
  const over = performance.now();
  const fault = "each service's queue deleted by hand";
  await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
});

test('a queue is purged by hand while its service is away', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix } = await startSystem({ ...resources, amqpUrl: servers.amqpUrl, env });
  const broker = await openBroker(servers.amqpUrl ?? '', prefix);
  const load = new Load({ urls: [process('order').url], schedule });
  await process('coupon').stop();
  await load.morePlaced(30);
  await eventually(async () => (await broker.purge('coupon')) > 0, { what: 'there is something to purge' });
  await process('coupon').start();
  const over = performance.now();
  const fault = 'a queue purged by hand';
  await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
});

test('of every event type, the first event about each order is lost', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl } = await startSystem({
    ...resources,
    amqpUrl: servers.amqpUrl,
    env: { ...env, RETRY_ATTEMPTS: '1' },
  });
  // As if each had been deleted from its outbox.
  await query(
    databaseUrl,
    `CREATE TABLE lost (type text, subject text, PRIMARY KEY (type, subject));
     CREATE FUNCTION lose_the_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO public.lost VALUES (NEW.type, NEW.subject) ON CONFLICT DO NOTHING;
       IF FOUND THEN RETURN NULL; END IF;
       RETURN NEW;
     END $$;
     ${serviceNames
       .map(
         (service) => `CREATE TRIGGER lose_the_first BEFORE INSERT ON ${schemaOf(service)}.outbox FOR EACH ROW
           WHEN (NEW.channel = 'bus') EXECUTE FUNCTION lose_the_first();`,
       )
       .join('\n')}`,
  );
  // One user's points cannot be stored at first, so that there is a step.failed to lose as well.
  await query(
    databaseUrl,
    `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'out of points'; END $$;
     CREATE TRIGGER refuse BEFORE INSERT ON sluice_points.entries FOR EACH ROW
       WHEN (NEW.user_id = 'user-1') EXECUTE FUNCTION refuse();`,
  );
  const load = new Load({ urls: [process('order').url], schedule });
  await load.morePlaced(40);
  await load.stop();
  const ordersOfUser = await count(databaseUrl, `sluice_order.orders WHERE user_id = 'user-1'`);
  const failedSteps = () => count(databaseUrl, `sluice_order.progress WHERE points->>'status' = 'failed'`);
  await eventually(async () => (await failedSteps()) === ordersOfUser, {
    what: 'failed steps are told, though the telling was lost',
    timeoutMs: 30_000,
  });
  await query(databaseUrl, 'DROP TRIGGER refuse ON sluice_points.entries');
  await retryDead(process('points'), 'points');

  const over = performance.now();
  const fault = 'the first event of each type and order lost';
  const verdict = await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(verdict.failed).toEqual([]);
  const lost = await query<{ type: string }>(databaseUrl, 'SELECT DISTINCT type FROM lost ORDER BY type');
  expect(lost.map(({ type }) => type)).toEqual([
    'coupon.issued',
    'coupon.skipped',
    'notification.sent',
    'order.placed',
    'points.awarded',
    'step.failed',
  ]);
});

test('Mosquitto with its defaults as the bus is killed while every consumer is away', async () => {
  const schedule = newSchedule();
  const mosquitto = await startMosquitto({ defaults: true });
  onTestFinished(() => mosquitto.stop());
  const { process, databaseUrl } = await startSystem({ ...resources, mqttUrl: mosquitto.mqttUrl, env });
  const load = new Load({ urls: [process('order').url], schedule });
  const consumers = (['points', 'coupon', 'notify'] as const).map(process);
  for (let round = 0; round < rounds; round++) {
    await Promise.all(consumers.map((each) => each.stop()));
    await load.morePlaced(40);
    await mosquitto.kill();
    await mosquitto.restart();
    await Promise.all(consumers.map((each) => each.start()));
  }
  const over = performance.now();
  const fault = 'Mosquitto as bus, its defaults, killed';
  await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
});
