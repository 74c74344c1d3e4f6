// The limit that RabbitMQ and amqplib set: a process that sends the system's messages through the system's queues, each
// persistent and confirmed, each acknowledged once its reply is confirmed, without a database. The services must not be
// running. Arguments: the broker's URL, seconds to warm up, seconds to measure.
import { setTimeout as delay } from 'node:timers/promises';
import amqp, { type ConsumeMessage } from 'amqplib';
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventType, StepResult } from '../../contracts/events.ts';
import { type ServiceName, serviceNames, subscriptions } from '../../contracts/services.ts';
import { EVENT_CONTENT_TYPE } from '../../infra/bus/port.ts';
import { declareTopology } from '../../infra/bus/rabbitmq/declare.ts';
import { exchangeOf, queueOf, type Topology } from '../../infra/bus/topology.ts';
import { MAX_OPEN } from './measure.ts';

/** As in the services. */
const PREFETCH = 200;
const DELIVERY_LIMIT = 20;
const RESULTS_PER_ORDER = 3;

const [url = '', warmUpSeconds, seconds] = process.argv.slice(2);
const topology: Topology = { prefix: 'sluice', groups: subscriptions };
const publishing = await amqp.connect(url, { noDelay: true });
const consuming = await amqp.connect(url, { noDelay: true });
const publisher = await publishing.createConfirmChannel();

/** Results so far, by order that is not completed. */
const open = new Map<string, number>();
let completed = 0;
/** Delivered and not acknowledged. */
let inHand = 0;
let stopping = false;
/** A lost message makes the comparison invalid. */
const fail = (error: unknown): never => {
  console.error(error);
  process.exit(1);
};

/** Resolves when the broker has confirmed the event. */
function publish(type: EventType, source: ServiceName, data: { orderId: string; [name: string]: unknown }) {
  const event = {
    specversion: '1.0',
    id: uuidv7(),
    source: `/services/${source}`,
    type,
    subject: data.orderId,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data,
  };
  const properties = { persistent: true, mandatory: true, contentType: EVENT_CONTENT_TYPE, messageId: event.id };
  return new Promise<void>((resolve, reject) => {
    const body = Buffer.from(JSON.stringify(event));
    publisher.publish(exchangeOf(topology), type, body, properties, (error: unknown) =>
      error ? reject(error) : resolve(),
    );
  });
}

function placeOrders(): void {
  while (open.size < MAX_OPEN && !stopping) {
    const orderId = uuidv7();
    open.set(orderId, 0);
    const data = { orderId, userId: 'user-1', currency: 'GBP', total: 12_345, itemCount: 3 };
    publish('order.placed', 'order', data).catch(fail);
  }
}

const expiresAt = new Date().toISOString();
/** The reply of each service to order.placed, without the order's id and user. */
const replies: Partial<Record<ServiceName, () => [EventType, object]>> = {
  points: () => ['points.awarded', { points: 123 }],
  coupon: () => ['coupon.issued', { couponId: uuidv7(), amount: 617, currency: 'GBP', expiresAt }],
  notify: () => ['notification.sent', { notificationId: uuidv7(), kind: 'order.placed' }],
};

async function handle(service: ServiceName, message: ConsumeMessage): Promise<void> {
  const event = JSON.parse(message.content.toString()) as Event<'order.placed' | StepResult>;
  if (event.type === 'order.placed') {
    const { orderId, userId } = event.data;
    const [type, data] = replies[service]?.() ?? [];
    if (type) await publish(type, service, { orderId, userId, ...data });
    return;
  }
  const results = (open.get(event.data.orderId) ?? 0) + 1;
  if (results < RESULTS_PER_ORDER) open.set(event.data.orderId, results);
  else if (open.delete(event.data.orderId)) {
    completed++;
    placeOrders();
  }
}

await declareTopology(publisher, topology, DELIVERY_LIMIT);
for (const service of serviceNames) {
  const channel = await consuming.createChannel();
  await channel.prefetch(PREFETCH);
  const receive = async (message: ConsumeMessage | null) => {
    if (!message) throw new Error(`the queue of ${service} is gone`);
    inHand++;
    await handle(service, message);
    channel.ack(message);
    inHand--;
  };
  await channel.consume(queueOf(topology, service), (message) => void receive(message).catch(fail));
}
placeOrders();

await delay(Number(warmUpSeconds) * 1_000);
const [startedAt, before] = [performance.now(), completed];
await delay(Number(seconds) * 1_000);
const perSecond = ((completed - before) / (performance.now() - startedAt)) * 1_000;

stopping = true;
while (open.size > 0 || inHand > 0) await delay(10);
await Promise.all([publishing.close(), consuming.close()]);
process.send?.(perSecond);
process.disconnect();
