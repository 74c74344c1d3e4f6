// The workflow in NestJS with its RabbitMQ transport, in the words of its documentation: `emit()` for events, a topic
// exchange (`wildcards`), durable queues, persistent messages, and `noAck: false` with an acknowledgement once the
// handler is done. The argument is the process's part: order, points, coupon or notification.
import 'reflect-metadata';
import { Body, Controller, Get, Inject, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  type ClientProxy,
  ClientsModule,
  Ctx,
  EventPattern,
  type MicroserviceOptions,
  Payload,
  type RmqContext,
  Transport,
} from '@nestjs/microservices';
import { type Order, Shop, type Step } from '../shop.ts';

const part = process.argv[2] as Step | 'order';
const common = {
  urls: [process.env.AMQP_URL ?? ''],
  exchange: 'orders',
  wildcards: true,
  queueOptions: { durable: true },
};
const client = { transport: Transport.RMQ as const, options: { ...common, persistent: true } };
const server = {
  transport: Transport.RMQ as const,
  options: { ...common, queue: part, noAck: false, prefetchCount: 200 },
};

function acknowledge(context: RmqContext): void {
  context.getChannelRef().ack(context.getMessage());
}

@Controller()
class OrderController {
  constructor(
    @Inject('EVENTS') private readonly events: ClientProxy,
    @Inject(Shop) private readonly shop: Shop,
  ) {}

  @Post('orders')
  async place(@Body() body: Parameters<Shop['place']>[0]): Promise<Order> {
    const order = await this.shop.place(body);
    this.events.emit('order.placed', order);
    return order;
  }

  @Get('readyz')
  ready(): string {
    return '';
  }

  @EventPattern('done.*')
  async done(@Payload() { step, orderId }: { step: Step; orderId: string }, @Ctx() context: RmqContext): Promise<void> {
    await this.shop.markDone(step, orderId);
    acknowledge(context);
  }
}

@Controller()
class StepController {
  constructor(
    @Inject('EVENTS') private readonly events: ClientProxy,
    @Inject(Shop) private readonly shop: Shop,
  ) {}

  @EventPattern('order.placed')
  async placed(@Payload() order: Order, @Ctx() context: RmqContext): Promise<void> {
    const step = part as Step;
    await this.shop.handle(step, order);
    this.events.emit(`done.${step}`, { step, orderId: order.id });
    acknowledge(context);
  }
}

const imports = [ClientsModule.register([{ name: 'EVENTS', ...client }])];

@Module({ imports, controllers: [part === 'order' ? OrderController : StepController], providers: [Shop] })
class AppModule {}

if (part === 'order') {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
  app.connectMicroservice<MicroserviceOptions>(server);
  await app.startAllMicroservices();
  await app.listen(Number(process.env.PORT), '127.0.0.1');
} else {
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(AppModule, {
    ...server,
    logger: ['error', 'warn'],
  });
  await app.listen();
}
