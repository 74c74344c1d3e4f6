// The order workflow over HTTP, in both shapes of the system.
import { connect as connectAmqp } from 'amqplib';
import mqtt from 'mqtt';
import { describe, expect, inject, onTestFinished } from 'vitest';
import { type Order, type StepName, stepNames } from '../../contracts/orders.ts';
import { problems } from '../../contracts/problems.ts';
import { emissions, serviceNames } from '../../contracts/services.ts';
import type { Notification } from '../../contracts/users.ts';
import type { AsyncApiDocument } from '../../infra/documents/asyncapi/types.ts';
import {
  call,
  completed,
  freshUser,
  get,
  mugs,
  orderOf,
  pages,
  placeOrder,
  postJson,
  readOrder,
} from '../setup/api.ts';
import { channelsOfTopic, readerOf } from '../setup/async-document.ts';
import * as schemas from '../setup/schemas.ts';
import { seriesIn, valueIn } from '../setup/series.ts';
import { eventually, gate } from '../setup/wait.ts';
import { onEachShape } from './support/each-shape.ts';
import { embedded, rolesApart, separateProcesses } from './support/systems.ts';

/** The latency of each step: sequential steps cannot be as fast as concurrent ones. */
const STEP_LATENCY_MS = 100;

const servers = inject('servers');
const apart = rolesApart(servers);
const shapes = [embedded, separateProcesses(servers), apart];

/** Throws unless one of the documents has a channel with this topic, and a message that matches. */
function expectDescribed(documents: readonly AsyncApiDocument[], topic: string, payload: string): void {
  const errors = documents.flatMap((document) =>
    channelsOfTopic(document, topic).flatMap((channel) =>
      Object.keys(document.channels[channel]?.messages ?? {}).map((name) => {
        const message = document.components.messages[name];
        const isJson = /json$/.test(String(message?.contentType)) && !message?.contentType.endsWith('ndjson');
        const schema = document.components.schemas[name] ?? message?.payload ?? {};
        return readerOf(document, schema).safeParse(isJson ? JSON.parse(payload) : payload).error?.message;
      }),
    ),
  );
  expect(errors.includes(undefined), `${topic} ${payload}: ${errors.join('; ') || 'no channel'}`).toBe(true);
}

onEachShape({ shapes, env: { STEP_LATENCY_MS: String(STEP_LATENCY_MS), RETRY_BASE_MS: '100' } }, (on) => {
  const onShape = on.test;
  const whereSeparate = on.shape.separate ? onShape : () => {};

  onShape('an order is accepted at once, and completed afterwards', async () => {
    const userId = freshUser();
    const answer = await postJson(`${on.orders}/orders`, orderOf(userId));
    expect(answer.status).toBe(201);
    const placed = answer.json(schemas.order);
    expect(answer.headers.location).toBe(`/orders/${placed.id}`);
    expect(placed).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      userId,
      status: 'placed',
      currency: 'GBP',
      total: 5_997,
      items: mugs,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      steps: { points: { status: 'pending' }, coupon: { status: 'pending' }, notification: { status: 'pending' } },
    });

    const order = await completed(on.orders, placed.id);
    const at = expect.stringMatching(/Z$/);
    expect(order).toEqual({
      ...placed,
      status: 'completed',
      steps: {
        points: { status: 'done', at, detail: '59 points' },
        coupon: { status: 'done', at, detail: '2.99 GBP' },
        notification: { status: 'done', at },
      },
    });
  });

  onShape('the history of an order has every event from the order to the services and back', async () => {
    const { id: orderId } = await placeOrder(on.orders, freshUser());
    await completed(on.orders, orderId);
    const history = await get(`${on.orders}/orders/${orderId}/history`, schemas.orderHistory);
    expect(history).toMatchObject({ orderId, truncated: false, missing: [], pruned: [] });
    const { items } = history;
    const first = (kind: string, service: string, type: string) =>
      items.findIndex((item) => item.kind === kind && item.service === service && item.type === type);
    for (const [service, type] of [
      ['points', 'points.awarded'],
      ['coupon', 'coupon.issued'],
      ['notify', 'notification.sent'],
    ] as const) {
      const there = ['received', 'handled'].map((kind) => first(kind, service, 'order.placed'));
      const written = ['written', 'published'].map((kind) => first(kind, service, type));
      const back = ['received', 'handled'].map((kind) => first(kind, 'order', type));
      const path = [0, first('written', 'order', 'order.placed'), ...there, ...written, ...back];
      expect(path, JSON.stringify(items, null, 1)).toEqual([...path].sort((a, b) => a - b));
      expect(path).not.toContain(-1);
    }
    expect(items[0]).toMatchObject({ kind: 'accepted', service: 'order', detail: 'over HTTP' });
    expect(items.map(({ detail }) => detail)).toEqual(
      expect.arrayContaining(['59 points', '2.99 GBP', 'points done: 59 points', 'notification done']),
    );
    expect(items.filter(({ kind }) => ['retried', 'dead', 'resent'].includes(kind))).toEqual([]);
  });

  onShape('an order has one points entry, one coupon and one notification', async () => {
    const userId = freshUser();
    const { id: orderId } = await placeOrder(on.orders, userId);
    await completed(on.orders, orderId);
    const at = expect.stringMatching(/Z$/);
    const id = expect.any(String);

    expect(await get(`${on.system.url('points')}/users/${userId}/points`, schemas.pointsPage)).toEqual({
      balance: 59,
      items: [{ id, orderId, points: 59, kind: 'award', at }],
      next: null,
    });
    const coupons = await get(`${on.system.url('coupon')}/users/${userId}/coupons`, schemas.couponsPage);
    expect(coupons).toEqual({
      items: [{ id, orderId, amount: 299, currency: 'GBP', status: 'active', expiresAt: at }],
      next: null,
    });
    const days = (Date.parse(String(coupons.items[0]?.expiresAt)) - Date.now()) / 86_400_000;
    expect(days).toBeCloseTo(30, 1);
    expect(await get(`${on.system.url('notify')}/users/${userId}/notifications`, schemas.notificationsPage)).toEqual({
      items: [
        {
          id,
          orderId,
          kind: 'order.placed',
          text: 'Thank you: your order of 1 item for 59.97 GBP is placed.',
          at,
        },
      ],
      next: null,
    });
  });

  onShape('a small order earns no coupon, and an order with a total of 0 earns 0 points', async () => {
    const userId = freshUser();
    const small = await placeOrder(on.orders, userId, [{ sku: 'PIN', quantity: 1, unitPrice: 4_999 }]);
    const free = await placeOrder(on.orders, userId, [{ sku: 'FLYER', quantity: 1, unitPrice: 0 }]);
    const order = await completed(on.orders, small.id);
    expect(order.steps.coupon).toMatchObject({ status: 'skipped', detail: 'total below 50.00 GBP' });
    expect((await completed(on.orders, free.id)).steps.points).toMatchObject({ status: 'done', detail: '0 points' });
    const { balance, items } = await get(`${on.system.url('points')}/users/${userId}/points`, schemas.pointsPage);
    expect(balance).toBe(49);
    expect(items.map(({ points }) => points).sort((a, b) => a - b)).toEqual([0, 49]);
    expect((await get(`${on.system.url('coupon')}/users/${userId}/coupons`, schemas.couponsPage)).items).toEqual([]);
  });

  onShape('the steps run concurrently', async () => {
    const firstMs: number[] = [];
    const apartMs: number[] = [];
    for (let count = 0; count < 10; count++) {
      const { id, createdAt } = await placeOrder(on.orders, freshUser());
      const { steps } = await completed(on.orders, id);
      const times = stepNames.map((name) => Date.parse(String(steps[name].at)));
      firstMs.push(Math.min(...times) - Date.parse(createdAt));
      apartMs.push(Math.max(...times) - Math.min(...times));
    }
    expect(Math.min(...firstMs)).toBeGreaterThanOrEqual(STEP_LATENCY_MS - 1);
    // Sequential steps would be at least two latencies apart.
    expect(Math.min(...apartMs)).toBeLessThan(2 * STEP_LATENCY_MS - 2);
  });

  onShape('the notification is published over MQTT, to its user only', async () => {
    // Percent-encoded in the topic, dots too.
    const userId = `${freshUser()}@b.c`.slice(-64);
    const topicOf = (user: string) =>
      `${on.system.prefix}/users/${user.replaceAll('@', '%40').replaceAll('.', '%2E')}/notifications`;
    const client = await mqtt.connectAsync(on.system.mqttUrl);
    onTestFinished(() => client.endAsync());
    const received: { topic: string; notification: Notification }[] = [];
    client.on('message', (topic, payload) => received.push({ topic, notification: JSON.parse(payload.toString()) }));
    await client.subscribeAsync([topicOf(userId), topicOf('somebody-else')], { qos: 1 });

    const { id } = await placeOrder(on.orders, userId);
    await eventually(() => received.length > 0, { what: 'the notification arrives' });
    await completed(on.orders, id);
    const { items } = await get(
      `${on.system.url('notify')}/users/${encodeURIComponent(userId)}/notifications`,
      schemas.notificationsPage,
    );
    expect(received).toEqual([{ topic: topicOf(userId), notification: items[0] }]);
  });

  onShape('the messages on MQTT are those of /asyncapi.json, and each process has the page of its own', async () => {
    const documentOf = new Map<string, AsyncApiDocument>();
    for (const service of serviceNames) {
      const url = on.system.url(service);
      const answer = await call(`${url}/asyncapi.json`);
      expect(answer.status, answer.text).toBe(200);
      const document = answer.body as AsyncApiDocument;
      documentOf.set(url, document);
      expect(document.channels).toHaveProperty([`live.${emissions[service][0]}`]);
      expect(Object.keys(document.channels).some((name) => name.startsWith('live.points.'))).toBe(
        !on.shape.separate || service === 'points',
      );
      const page = await call(`${url}/docs`);
      expect(page.status).toBe(200);
      expect(page.text).toContain(`id="events.message.${emissions[service][0]}"`);
      for (const [, file = ''] of page.text.matchAll(/<(?:link|script)[^>]*(?:href|src)="([^"]*)"/g))
        expect((await call(`${url}${file}`)).headers['content-type']).toMatch(
          /^text\/(css|javascript); charset=utf-8$/,
        );
      const unknown = await call(`${url}/problems/unknown`);
      expect(unknown.status).toBe(404);
      // The type of an error leads to the page that explains it.
      const explained = await call(`${url}${unknown.json(schemas.problem).type}`);
      expect(explained.status).toBe(200);
      expect(explained.text).toContain(problems['not-found'].about);
    }

    const documents = [...documentOf.values()];
    const client = await mqtt.connectAsync(on.system.mqttUrl);
    onTestFinished(() => client.endAsync());
    const received: { readonly topic: string; readonly payload: Buffer }[] = [];
    client.on('message', (topic, payload) => received.push({ topic, payload }));
    const userId = freshUser();
    const filters = ['logs/#', 'services/#', 'live/#', `users/${userId}/notifications`];
    await client.subscribeAsync(filters.map((filter) => `${on.system.prefix}/${filter}`));
    const { id } = await placeOrder(on.orders, userId);
    await completed(on.orders, id);
    const seen = () =>
      new Set(received.flatMap(({ topic }) => documents.flatMap((its) => channelsOfTopic(its, topic))));
    await eventually(
      () => {
        expect([...seen()]).toEqual(
          expect.arrayContaining(['notifications', 'logs', 'presence', 'live.order.placed', 'live.points.awarded']),
        );
        return true;
      },
      { what: 'messages on each kind of topic arrive', timeoutMs: 15_000 },
    );
    for (const { topic, payload } of received) expectDescribed(documents, topic, payload.toString());
  });

  whereSeparate('the queues on RabbitMQ are those of /asyncapi.json, with their arguments and bindings', async () => {
    const connection = await connectAmqp(String(servers.amqpUrl));
    onTestFinished(() => connection.close());
    const channel = await connection.createChannel();
    for (const service of serviceNames) {
      const { channels } = (await call(`${on.system.url(service)}/asyncapi.json`)).body as AsyncApiDocument;
      for (const [name, { address, ...its }] of Object.entries(channels)) {
        if (!/^rabbitmq\.(queue|dead)\./.test(name)) continue;
        // The broker rejects a declaration that differs in any argument.
        await channel.assertQueue(String(address), { durable: true, arguments: its['x-queue-arguments'] });
      }
      const { bindings } = Object.values(channels).find(({ address }) => address === emissions[service][0]) ?? {};
      const { amqp } = bindings as { amqp: { exchange: { name: string; type: string; durable: boolean } } };
      await channel.assertExchange(amqp.exchange.name, amqp.exchange.type, { durable: amqp.exchange.durable });
    }
    await channel.close();
  });

  describe('an idempotency key', () => {
    /** The same request 20 times at once, over all order processes. */
    async function twentyTimes(body: unknown, key: string) {
      const together = gate(20);
      const processes = on.system.processes('order');
      return Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          await together();
          return postJson(`${processes[index % processes.length]?.url}/orders`, body, { 'idempotency-key': key });
        }),
      );
    }

    onShape('makes one order of twenty concurrent requests, and marks the other nineteen as replayed', async () => {
      const userId = freshUser();
      const answers = await twentyTimes(orderOf(userId), 'once');
      const created = answers.filter(({ status }) => status === 201);
      const replayed = answers.filter(({ status }) => status === 200);
      expect([created.length, replayed.length]).toEqual([1, 19]);
      expect(replayed.every(({ headers }) => headers['idempotency-replayed'] === 'true')).toBe(true);
      expect(created[0]?.headers['idempotency-replayed']).toBeUndefined();
      const id = created[0]?.json(schemas.order).id;
      expect(new Set(answers.map((answer) => answer.json(schemas.order).id))).toEqual(new Set([id]));
      expect((await get(`${on.orders}/orders?userId=${userId}`, schemas.ordersPage)).items).toHaveLength(1);
    });

    onShape('returns the current state of the order', async () => {
      const userId = freshUser();
      const key = { 'idempotency-key': 'again' };
      const { id } = (await postJson(`${on.orders}/orders`, orderOf(userId), key)).json(schemas.order);
      await completed(on.orders, id);
      const later = await postJson(`${on.orders}/orders`, orderOf(userId), key);
      expect(later.status).toBe(200);
      expect(later.json(schemas.order)).toEqual(await readOrder(on.orders, id));
    });

    onShape('accepts the same body in another notation, and rejects a different one', async () => {
      const userId = freshUser();
      const send = (body: unknown) => postJson(`${on.orders}/orders`, body, { 'idempotency-key': 'quoted "key" ~' });
      const { id } = (await send(orderOf(userId))).json(schemas.order);
      const inOtherNotation = `{ "items" : [ {"unitPrice":1.999e3,"quantity":3,"name":"M\\u0075g","sku":"MUG"} ],
        "currency":"GBP", "userId":"${userId}" }`;
      expect((await send(inOtherNotation)).json(schemas.order).id).toBe(id);

      const other = await send(orderOf(userId, [{ sku: 'MUG', name: 'Mug', quantity: 4, unitPrice: 1_999 }]));
      expect(other.status).toBe(422);
      expect(other.body).toMatchObject({ type: '/problems/idempotency-key-reused', status: 422 });
      expect((await get(`${on.orders}/orders?userId=${userId}`, schemas.ordersPage)).items).toHaveLength(1);
    });

    onShape('is scoped to the user', async () => {
      const key = { 'idempotency-key': 'shared' };
      const [one, other] = [freshUser(), freshUser()];
      const first = await postJson(`${on.orders}/orders`, orderOf(one), key);
      const second = await postJson(`${on.orders}/orders`, orderOf(other), key);
      expect([first.status, second.status]).toEqual([201, 201]);
      expect(first.json(schemas.order).id).not.toBe(second.json(schemas.order).id);
    });
  });

  onShape('lists have pages, newest first', async () => {
    const userId = freshUser();
    const placed: string[] = [];
    for (let count = 0; count < 6; count++) placed.push((await placeOrder(on.orders, userId)).id);
    const newestFirst = placed.toReversed();
    for (const id of placed) await completed(on.orders, id);

    const idsOf = (all: (readonly Order[])[]) => all.map((page) => page.map(({ id }) => id));
    expect(idsOf(await pages(`${on.orders}/orders?userId=${userId}&limit=4`, schemas.ordersPage))).toEqual([
      newestFirst.slice(0, 4),
      newestFirst.slice(4),
    ]);
    // A full last page has no next one.
    expect(idsOf(await pages(`${on.orders}/orders?userId=${userId}&limit=3`, schemas.ordersPage))).toEqual([
      newestFirst.slice(0, 3),
      newestFirst.slice(3),
    ]);
    expect(await pages(`${on.orders}/orders?userId=${freshUser()}`, schemas.ordersPage)).toEqual([[]]);

    const lists = [
      ['points', 'points', schemas.pointsPage],
      ['coupon', 'coupons', schemas.couponsPage],
      ['notify', 'notifications', schemas.notificationsPage],
    ] as const;
    for (const [service, list, schema] of lists) {
      const walked = await pages<{ id: string; orderId: string }>(
        `${on.system.url(service)}/users/${userId}/${list}?limit=2`,
        schema,
      );
      expect(walked.map((page) => page.length)).toEqual([2, 2, 2]);
      const ids = walked.flat().map(({ id }) => id);
      expect(ids).toEqual(ids.toSorted().reverse());
      expect(new Set(walked.flat().map(({ orderId }) => orderId))).toEqual(new Set(placed));
    }
  });

  onShape('each process reports readiness, health and metrics', async () => {
    for (const service of serviceNames) {
      const url = on.system.url(service);
      const worker = on.system.worker(service).url;
      const readiness = await eventually(
        async () => {
          const now = await get(`${url}/readyz`, schemas.readiness);
          return now.status === 'up' && now.consumers[service]?.backlog === 0 && now;
        },
        { what: `${service} is up without a backlog` },
      );
      expect((await get(`${worker}/readyz`, schemas.readiness)).resources).toEqual({
        database: { status: 'up' },
        bus: { status: 'up' },
        mqtt: { status: 'up' },
        // The queues run in the processes of the flash-sale service.
        ...('flash-sale' in readiness.consumers ? { queues: { status: 'up' } } : {}),
      });
      // No order has a ticket here, so the flash sale may not have had a message.
      const never = service === 'flash-sale' && readiness.consumers[service]?.lastProgressAt === null;
      expect(readiness.consumers[service]).toEqual({
        status: 'up',
        backlog: 0,
        lastProgressAt: never ? null : expect.stringMatching(/Z$/),
      });
      for (const process of [url, worker])
        expect(await get(`${process}/healthz`, schemas.health)).toEqual({ status: 'up', stalled: [] });

      const metrics = await call(`${worker}/metrics`);
      expect(metrics.headers['content-type']).toMatch(/^text\/plain; version=/);
      // No order has a ticket here, so the flash sale has handled no message.
      const handled = new RegExp(`^sluice_messages_handled_total{.*service="${service}".*} \\d+$`, 'm');
      if (service === 'flash-sale') expect(metrics.text).not.toMatch(handled);
      else expect(metrics.text).toMatch(handled);
      for (const channel of ['bus', 'user']) {
        const drained = `sluice_outbox_rows{service="${service}",channel="${channel}"} 0\n`;
        await eventually(async () => (await call(`${url}/metrics`)).text.includes(drained), {
          what: `the outbox of ${service} for ${channel} is empty`,
        });
      }
    }
  });

  onShape('each process of a service reports the same stored values', async () => {
    for (const service of serviceNames) {
      const processes = new Set([...on.system.processes(service), on.system.worker(service)]);
      const workers = [...processes].filter(({ url }) => on.shape !== apart || url === on.system.worker(service).url);
      for (const { url } of processes) {
        const isShown = async () => {
          const series = seriesIn((await call(`${url}/metrics`)).text);
          return (
            valueIn(series, 'sluice_workers', { service }) === workers.length &&
            valueIn(series, 'sluice_outbox_oldest_age_seconds', { service, channel: 'bus' }) === 0 &&
            valueIn(series, 'sluice_inbox_oldest_age_seconds', { service }) === 0
          );
        };
        await eventually(isShown, { what: `${url} reports ${workers.length} workers of ${service}, and no row` });
      }
    }
  });

  onShape('a process without the role web serves only the routes of its operation', async () => {
    const worker = on.system.worker('order').url;
    const isApart = worker !== on.orders;
    for (const path of ['/orders?userId=a', '/failed-messages/order', '/audit/order'])
      expect([path, (await call(`${worker}${path}`)).status]).toEqual([path, isApart ? 404 : 200]);
  });

  onShape('failed messages are listed for each service, and an unknown service is 404', async () => {
    for (const service of serviceNames) {
      expect(await get(`${on.system.url(service)}/failed-messages/${service}`, schemas.failedMessagesPage)).toEqual({
        items: [],
        next: null,
      });
    }
    for (const path of ['/failed-messages/nobody', '/failed-messages/order/none/retry']) {
      const method = path.endsWith('retry') ? 'POST' : 'GET';
      expect((await call(`${on.orders}${path}`, { method })).status).toBe(404);
    }
    expect((await call(`${on.orders}/failed-messages/order?status=done`)).status).toBe(422);
  });

  whereSeparate(
    'while points is down, orders are accepted and their other steps done; then points catches up',
    async () => {
      const points = on.system.processes('points');
      for (const process of points) expect(await process.stop()).toEqual({ code: 0, signal: null });
      const userId = freshUser();
      const placed = await Promise.all(Array.from({ length: 20 }, () => placeOrder(on.orders, userId)));
      const stepsOf = async ({ id }: Order) => (await readOrder(on.orders, id)).steps;
      const others: StepName[] = ['coupon', 'notification'];
      await eventually(
        async () => {
          const all = await Promise.all(placed.map(stepsOf));
          return all.every((steps) => others.every((name) => steps[name].status === 'done'));
        },
        { what: 'the other steps are done' },
      );
      for (const order of placed) expect((await stepsOf(order)).points).toEqual({ status: 'pending' });

      for (const process of points) await process.start();
      await Promise.all(placed.map(({ id }) => completed(on.orders, id)));
      const { balance } = await get(`${on.system.url('points')}/users/${userId}/points`, schemas.pointsPage);
      expect(balance).toBe(20 * 59);
    },
  );

  whereSeparate('an unreadable message is listed as dead, and retried on demand', async () => {
    const connection = await connectAmqp(String(servers.amqpUrl));
    onTestFinished(() => connection.close());
    const channel = await connection.createConfirmChannel();
    const { id: subject } = await placeOrder(on.orders, freshUser());
    const poison = JSON.stringify({ specversion: '1.0', type: 'order.placed', subject, note: 'no id, no data' });
    channel.publish(`${on.system.prefix}.events`, 'order.placed', Buffer.from(poison), { mandatory: true });
    await channel.waitForConfirms();

    const list = `${on.system.url('points')}/failed-messages/points`;
    const dead = await eventually(async () => (await get(list, schemas.failedMessagesPage)).items[0], {
      what: 'the message is dead',
    });
    expect(dead).toEqual({
      id: expect.any(String),
      type: 'order.placed',
      subject,
      status: 'dead',
      attempts: 1,
      error: expect.stringMatching(/^unreadable: id: .*data: /),
      group: expect.any(String),
      nextAttemptAt: null,
      receivedAt: expect.stringMatching(/Z$/),
      discardedAt: null,
      discardReason: null,
      payload: poison,
      payloadBytes: Buffer.byteLength(poison),
      truncated: false,
      corrected: false,
    });
    // The failure does not change the order's step, which is done.
    expect((await completed(on.orders, subject)).steps.points).toMatchObject({ status: 'done' });

    for (const [filter, matches] of [
      ['?status=dead', 1],
      ['?status=retrying', 0],
      ['?type=order.placed', 1],
      ['?type=points.awarded', 0],
    ] as const) {
      expect((await get(`${list}${filter}`, schemas.failedMessagesPage)).items).toHaveLength(matches);
    }
    const retry = await call(`${list}/${dead.id}/retry`, { method: 'POST' });
    expect([retry.status, retry.body]).toEqual([202, { retried: 1 }]);
    const again = await call(`${list}/retry?status=dead&type=points.awarded`, { method: 'POST' });
    expect([again.status, again.body]).toEqual([202, { retried: 0, left: 0, truncated: 0 }]);
    // The message is still unreadable.
    await eventually(async () => (await get(`${list}?status=dead`, schemas.failedMessagesPage)).items.length === 1, {
      what: 'the message is dead again',
    });
  });
});
