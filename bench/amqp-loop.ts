// The limit that RabbitMQ and amqplib set: a process that sends the system's messages through the system's queues, each
// persistent and confirmed, each acknowledged once its reply is confirmed, without a database. The services must not be
// running. Arguments: the broker's URL, seconds to warm up, seconds to measure.
import { setTimeout as delay } from 'node:timers/promises';
import amqp, { type Channel, type ConfirmChannel, type ConsumeMessage } from 'amqplib';
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventType, StepResult } from '../contracts/events.ts';
import { type ServiceName, subscriptions } from '../contracts/services.ts';
import { EVENT_CONTENT_TYPE } from '../infra/bus/port.ts';
import { declareTopology } from '../infra/bus/rabbitmq/declare.ts';
import { exchangeOf, queueOf, type Topology } from '../infra/bus/topology.ts';
import { MAX_OPEN } from './bodies.ts';

/** As in the services. */
const PREFETCH = 200;
const DELIVERY_LIMIT = 20;
const RESULTS_PER_ORDER = 3;

const topology: Topology = { prefix: 'sluice', groups: subscriptions };
/** Results so far, by order that is not completed. */
const open = new Map<string, number>();
let completed = 0;
/** Delivered and not acknowledged. */
let inHand = 0;
let stopping = false;
/** Called when no message is left after the measurement. */
let allDone = () => {};
/** A lost message makes the comparison invalid. */
const fail = (error: unknown): never => {
  console.error(error);
  process.exit(1);
};

const eventOf = (type: EventType, source: ServiceName, data: { orderId: string; [name: string]: unknown }): string =>
  JSON.stringify({
    specversion: '1.0',
    id: uuidv7(),
    source: `/services/${source}`,
    type,
    subject: data.orderId,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data,
  });

/** Resolves when the broker has confirmed the message. */
const publish = (channel: ConfirmChannel, type: EventType, body: string) =>
  new Promise<void>((resolve, reject) => {
    const properties = { persistent: true, mandatory: true, contentType: EVENT_CONTENT_TYPE, messageId: uuidv7() };
    channel.publish(exchangeOf(topology), type, Buffer.from(body), properties, (error: unknown) =>
      error ? reject(error) : resolve(),
    );
  });

function placeOrders(channel: ConfirmChannel): void {
  while (open.size < MAX_OPEN && !stopping) {
    const orderId = uuidv7();
    open.set(orderId, 0);
    const data = { orderId, userId: 'user-1', currency: 'GBP', total: 12_345, itemCount: 3 };
    publish(channel, 'order.placed', eventOf('order.placed', 'order', data)).catch(fail);
  }
}

const expiresAt = new Date().toISOString();
/** The reply of each service to order.placed, without the order's id and user. */
const replies: Partial<Record<ServiceName, () => [EventType, object]>> = {
  points: () => ['points.awarded', { points: 123 }],
  coupon: () => ['coupon.issued', { couponId: uuidv7(), amount: 617, currency: 'GBP', expiresAt }],
  notify: () => ['notification.sent', { notificationId: uuidv7(), kind: 'order.placed' }],
};

async function handle(service: ServiceName, message: ConsumeMessage, publisher: ConfirmChannel): Promise<void> {
  const event = JSON.parse(message.content.toString()) as Event<'order.placed' | StepResult>;
  if (event.type === 'order.placed') {
    const { orderId, userId } = event.data;
    const [type, data] = replies[service]?.() ?? [];
    if (type) await publish(publisher, type, eventOf(type, service, { orderId, userId, ...data }));
    return;
  }
  const results = (open.get(event.data.orderId) ?? 0) + 1;
  if (results < RESULTS_PER_ORDER) open.set(event.data.orderId, results);
  else if (open.delete(event.data.orderId)) {
    completed++;
    placeOrders(publisher);
  }
}

async function consume(channel: Channel, service: ServiceName, publisher: ConfirmChannel): Promise<void> {
  await channel.prefetch(PREFETCH);
  const receive = async (message: ConsumeMessage | null) => {
    if (!message) throw new Error(`the queue of ${service} is gone`);
    inHand++;
    await handle(service, message, publisher);
    channel.ack(message);
    inHand--;
    if (stopping && open.size === 0 && inHand === 0) allDone();
  };
  await channel.consume(queueOf(topology, service), (message) => void receive(message).catch(fail));
}

const [url = '', warmUpSeconds, seconds] = process.argv.slice(2);
const publishing = await amqp.connect(url, { noDelay: true });
const consuming = await amqp.connect(url, { noDelay: true });
const publisher = await publishing.createConfirmChannel();
await declareTopology(publisher, topology, DELIVERY_LIMIT);
for (const service of Object.keys(subscriptions) as ServiceName[]) {
  await consume(await consuming.createChannel(), service, publisher);
}
placeOrders(publisher);

await delay(Number(warmUpSeconds) * 1_000);
const [startedAt, before] = [performance.now(), completed];
await delay(Number(seconds) * 1_000);
const perSecond = ((completed - before) / (performance.now() - startedAt)) * 1_000;

const end = new Promise<void>((resolve) => {
  allDone = resolve;
});
stopping = true;
await end;
await Promise.all([publishing.close(), consuming.close()]);
process.send?.(perSecond);
process.disconnect();
