// The same shop without a bus, for the comparison: POST /orders runs the steps and responds when they are done. It uses
// the product's routes, use case, handlers, inboxes, outboxes and tables; calls replace the bus between the services.
import { parseConfig } from '../../app/config.ts';
import { migrateSchemas } from '../../app/prepare-database.ts';
import { openResources, type Resources } from '../../app/resources.ts';
import { schemaOf } from '../../app/schemas.ts';
import type { RunningSluice } from '../../app/start.ts';
import { createApp } from '../../infra/http/app.ts';
import { listenAt } from '../../infra/http/server.ts';
import { publishToUsers, Relay } from '../../infra/messaging/relay.ts';
import { createLog } from '../../infra/observability/log.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import { couponService } from '../../services/coupon/index.ts';
import { notifyService } from '../../services/notify/index.ts';
import { orderService } from '../../services/order/index.ts';
import { createPlaceOrder, type PlaceOrder } from '../../services/order/place-order.ts';
import { placeAndReadRoutes } from '../../services/order/routes.ts';
import { findOrder } from '../../services/order/store/orders.ts';
import { pointsService } from '../../services/points/index.ts';
import { Participant, type ParticipantContext } from './participant.ts';

/** How the steps of one order run. */
export type StepOrder = 'sequence' | 'parallel';

export async function startSynchronous(env: NodeJS.ProcessEnv, stepOrder: StepOrder): Promise<RunningSluice> {
  const config = parseConfig(env);
  const log = createLog({ level: config.LOG_LEVEL, pretty: false });
  const resources = await openResources(config, log);
  try {
    const context = {
      settings: config,
      database: resources.database,
      metrics: new Metrics(),
      log,
      wakeWorker: () => {},
    };
    return await serve(context, resources, stepOrder);
  } catch (error) {
    await resources.close();
    throw error;
  }
}

async function serve(context: ParticipantContext, resources: Resources, stepOrder: StepOrder): Promise<RunningSluice> {
  const { settings: config, database, log } = context;
  const payments = await resources.payments();
  const order = new Participant('order', (own) => orderService({ ...own, payments }), context);
  const points = new Participant('points', pointsService, context);
  const coupon = new Participant('coupon', couponService, context);
  const notify = new Participant('notify', notifyService, context);
  const steps = [points, coupon, notify];
  const migrations = new Map([order, ...steps].map(({ name, service }) => [name, service.migrations]));
  await migrateSchemas(database, { config, log, signal: new AbortController().signal }, migrations);
  const placeOrder = createPlaceOrder({ database, outbox: order.outbox, resendAfterMs: config.RESEND_AFTER_MS });

  const placeAndComplete: PlaceOrder = async (request, key) => {
    const placed = await placeOrder(request, key);
    if (placed.outcome !== 'placed') return placed;
    const { id } = placed.order;
    await order.pass(id, async (events) => {
      if (stepOrder === 'parallel') await Promise.all(steps.map(({ inbox }) => inbox.process(events)));
      else for (const { inbox } of steps) await inbox.process(events);
    });
    await Promise.all(steps.map((step) => step.pass(id, (results) => order.inbox.process(results))));
    return { ...placed, order: (await findOrder(database, id)) ?? placed.order };
  };
  const app = createApp(log, (api) => {
    placeAndReadRoutes(api, database, placeAndComplete);
    for (const { service } of steps) service.routes(api);
  });

  // Notifications to users' devices are published in the background, as in the product.
  const toUsers = new Relay({
    database,
    schema: schemaOf('notify'),
    channel: 'user',
    pollMs: 500,
    leaseMs: config.LEASE_MS,
    log,
    publish: (rows) => publishToUsers(resources.mqtt, config.BUS_PREFIX, rows),
  });
  notify.outbox.connect('user', toUsers);
  toUsers.start();
  const http = await listenAt(config, app);
  return {
    url: http.url,
    stop: async () => {
      await http.close();
      await toUsers.stop();
      await resources.close();
    },
  };
}
