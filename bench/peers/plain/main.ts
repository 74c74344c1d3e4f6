// A plain amqplib script, as many are: it publishes without waiting for a confirm, and a consumer acknowledges each
// message before it handles it. The argument is the process's part: order, points, coupon or notification.
import amqp from 'amqplib';
import express from 'express';
import { type Order, Shop, type Step, steps } from '../shop.ts';

const PREFETCH = 200;
const part = process.argv[2] as Step | 'order';
const shop = new Shop();
const connection = await amqp.connect(process.env.AMQP_URL ?? '');
const channel = await connection.createChannel();
await channel.assertExchange('orders', 'topic', { durable: true });

const publish = (type: string, body: object) =>
  channel.publish('orders', type, Buffer.from(JSON.stringify(body)), { persistent: true });

async function consume(queue: string, type: string, handle: (body: never, type: string) => Promise<void>) {
  await channel.assertQueue(queue, { durable: true });
  await channel.bindQueue(queue, 'orders', type);
  await channel.prefetch(PREFETCH);
  await channel.consume(queue, (message) => {
    if (!message) return;
    channel.ack(message);
    handle(JSON.parse(message.content.toString()) as never, message.fields.routingKey).catch(console.error);
  });
}

if (part === 'order') {
  await consume('order', 'done.*', ({ orderId }: { orderId: string }, type) =>
    shop.markDone(type.slice('done.'.length) as Step, orderId),
  );
  const app = express();
  app.post('/orders', express.json(), async (request, response) => {
    const order = await shop.place(request.body);
    publish('order.placed', order);
    response.status(201).json(order);
  });
  app.get('/readyz', (_request, response) => void response.end());
  app.listen(Number(process.env.PORT), '127.0.0.1');
} else if (steps.includes(part)) {
  await consume(part, 'order.placed', async (order: Order) => {
    await shop.handle(part, order);
    publish(`done.${part}`, { orderId: order.id });
  });
}
