// Events that a broker loses: the request is resent and gets the same reply. Only these tests resend soon; in others a
// resend would repair, and so hide, a loss.
import { expect, inject, onTestFinished, test } from 'vitest';
import { schemaOf } from '../../app/schemas.ts';
import { type EventType, eventTypes } from '../../contracts/events.ts';
import { serviceNames, subscriptions } from '../../contracts/services.ts';
import type { Environment } from '../../demos/shared/child-process.ts';
import { startMosquitto } from '../servers/mosquitto.ts';
import { createSale } from '../service/support/flash-sales.ts';
import { readMetrics } from '../setup/api.ts';
import { startPaymentsInside } from '../setup/payments.ts';
import { eventually } from '../setup/wait.ts';
import { openBroker } from './support/broker.ts';
import { Buyers } from './support/buyers.ts';
import { conclude } from './support/conclude.ts';
import { Holders } from './support/holders.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { retryDead } from './support/service-process.ts';
import { count, query } from './support/sql.ts';
import { startSystem } from './support/system.ts';

/** I7. The first resend comes after half a second, the second a second later, and so on. */
const DONE_WITHIN_MS = 45_000;
const env = { RESEND_AFTER_MS: '500' };
/** Long enough for two resends and a payment on a busy machine. */
const HOLD_SECONDS = 8;
/** A user whose points cannot be stored at first, so that a step.failed can be lost too. */
const UNLUCKY = 'user-1';
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl };

test("loses no order if each service's queue is deleted under load", async () => {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix } = await startSystem({
    ...resources,
    amqpUrl: servers.amqpUrl,
    // If a publisher declares a deleted quorum queue again at once, RabbitMQ does not always cancel its consumer. Then
    // the watchdog rebuilds the silent consumer.
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

test('loses no order if a queue is purged while its service is stopped', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix } = await startSystem({ ...resources, amqpUrl: servers.amqpUrl, env });
  const broker = await openBroker(servers.amqpUrl ?? '', prefix);
  const load = new Load({ urls: [process('order').url], schedule });
  await process('coupon').stop();
  await load.morePlaced(30);
  await eventually(async () => (await broker.purge('coupon')) > 0, { what: 'the queue has messages to purge' });
  await process('coupon').start();
  const over = performance.now();
  const fault = 'a queue purged by hand';
  await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
});

const { amqpUrl } = servers;
const buses: readonly [string, { readonly amqpUrl?: string | undefined; readonly env: Environment }][] = [
  ['RabbitMQ', { amqpUrl, env: {} }],
  ['MQTT', { env: { EVENT_BUS: 'mqtt' } }],
  ['local', { env: { EVENT_BUS: 'local' } }],
];
const tables = ['outbox', 'inbox'] as const;
const losses = buses.flatMap(([bus, on]) => tables.map((table) => [bus, table, on] as const));

test.each(losses)(
  'on the %s bus, resends the first event of each type and order if it is lost at the %s',
  async (...[bus, table, on]) => {
    const schedule = newSchedule();
    const payments = await startPaymentsInside();
    onTestFinished(() => payments.stop());
    const system = await startSystem({
      ...resources,
      amqpUrl: on.amqpUrl,
      processes: [['order'], ['points', 'coupon', 'notify'], ['flash-sale']],
      env: { ...env, ...on.env, RETRY_ATTEMPTS: '1', PAYMENT_URL: payments.url },
    });
    const { process, databaseUrl } = system;
    await loseTheFirst(databaseUrl, table);
    await rejectPoints(databaseUrl);

    // Orders of the shop, of a sale, and of a sale with payment; some of each are cancelled.
    const gateways = [process('flash-sale').url];
    const shops = [process('order').url];
    const load = new Load({ urls: shops, schedule, pace: 20, cancels: 0.3 });
    const sale = async (name: string, holdSeconds: number, shares: { pay: number; cancel: number; regret: number }) => {
      const terms = { stock: 1_000, queueCap: 1_000, drainPerSecond: 100, holdSeconds };
      const { id: saleId } = await createSale(process('flash-sale').url, terms);
      const holders = new Holders({ gateways, shops, saleId, schedule, withinMs: 2_000, ...shares });
      const buyers = new Buyers({ urls: gateways, saleId, schedule, name, onTicket: holders.take });
      await buyers.burst(24);
      return { buyers, holders };
    };
    const sales = await Promise.all([
      sale('buyer', 0, { pay: 0, cancel: 0.4, regret: 0 }),
      sale('payer', HOLD_SECONDS, { pay: 0.4, cancel: 0.2, regret: 0.2 }),
    ]);
    await load.morePlaced(40);
    await load.stop();

    const ofUser = `user_id = '${UNLUCKY}'`;
    const orders = await count(databaseUrl, `sluice_order.orders WHERE ${ofUser}`);
    const failed = `sluice_order.orders JOIN sluice_order.progress ON order_id = id
    WHERE ${ofUser} AND points->>'status' = 'failed'`;
    await eventually(async () => (await count(databaseUrl, failed)) === orders, {
      what: 'the orders show failed steps, although the first step.failed of each is lost',
      timeoutMs: DONE_WITHIN_MS,
    });
    await query(databaseUrl, 'DROP TRIGGER reject ON sluice_points.entries');
    await retryDead(process('points'), 'points');

    const over = performance.now();
    const verdict = await conclude({
      fault: `the first event of each type and order lost on its way ${table === 'outbox' ? 'out' : 'in'}, ${bus}`,
      rounds: 1,
      databaseUrl,
      load,
      buyers: sales.map(({ buyers }) => buyers),
      holders: sales.map(({ holders }) => holders),
      payments,
      over,
      withinMs: HOLD_SECONDS * 1_000 + DONE_WITHIN_MS,
    });
    expect(verdict.failed).toEqual([]);
    expect(await lostTypes(databaseUrl)).toEqual(lossesOf[table]);

    // The log and the metrics show the resends.
    for (const [service, type] of requests) {
      const { workerUrl, output } = process(service);
      expect(await metric(workerUrl, `sluice_resent_total{type="${type}"}`), type).toBeGreaterThan(0);
      expect(await output()).toMatch(new RegExp(`"request":"${type}".*"resent: the replies are overdue"`));
    }
  },
);

test('loses no order if Mosquitto, the bus, is killed with its defaults while all consumers are stopped', async () => {
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

const requests = [
  ['order', 'order.placed'],
  ['order', 'order.cancelled'],
  ['flash-sale', 'flash-sale.ticket.accepted'],
] as const;

/** Types whose events differ by `kind` or `outcome`: each of them must be lost at an outbox. */
const variants: Partial<Record<EventType, readonly string[]>> = {
  'notification.sent': ['order.cancelled', 'order.placed'],
  'flash-sale.ticket.closed': ['released'],
};
const lossesOf = {
  outbox: eventTypes.flatMap((type) => variants[type]?.map((what) => `${type} ${what}`) ?? [type]).sort(),
  inbox: serviceNames.flatMap((service) => subscriptions[service].map((type) => `${type} to ${service}`)).sort(),
};

/**
 * Drops the first event of each type and subject at the outboxes, as if the broker had confirmed and lost it, or at the
 * inboxes, as if the service had acknowledged and lost it.
 */
async function loseTheFirst(databaseUrl: string, table: 'outbox' | 'inbox'): Promise<void> {
  const what = {
    outbox: `NEW.type || COALESCE(' ' || (NEW.data::json->>'outcome'), ' ' || (NEW.data::json->>'kind'), '')`,
    inbox: `NEW.type || ' to ' || TG_ARGV[0]`,
  }[table];
  const triggers = serviceNames.map(
    (service) => `CREATE TRIGGER lose_the_first BEFORE INSERT ON ${schemaOf(service)}.${table} FOR EACH ROW
      ${table === 'outbox' ? `WHEN (NEW.channel = 'bus')` : ''} EXECUTE FUNCTION lose_the_first('${service}');`,
  );
  await query(
    databaseUrl,
    `CREATE TABLE lost (what text, subject text, PRIMARY KEY (what, subject));
     CREATE FUNCTION lose_the_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO public.lost VALUES (${what}, NEW.subject) ON CONFLICT DO NOTHING;
       IF FOUND THEN RETURN NULL; END IF;
       RETURN NEW;
     END $$;
     ${triggers.join('\n')}`,
  );
}

const rejectPoints = (databaseUrl: string) =>
  query(
    databaseUrl,
    `CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'out of points'; END $$;
     CREATE TRIGGER reject BEFORE INSERT ON sluice_points.entries FOR EACH ROW
       WHEN (NEW.user_id = '${UNLUCKY}') EXECUTE FUNCTION reject();`,
  );

async function lostTypes(databaseUrl: string): Promise<string[]> {
  const rows = await query<{ what: string }>(databaseUrl, 'SELECT DISTINCT what FROM lost');
  return rows.map(({ what }) => what).sort();
}

/** The value of a counter; 0 if it has no series. */
async function metric(url: string, series: string): Promise<number> {
  const line = (await readMetrics(url)).split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.split(' ')[1] ?? 0);
}
