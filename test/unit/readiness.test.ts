// GET /readyz while every server is away.
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { serveOperations } from '../../app/admin/operations.ts';
import type { ServiceRunner } from '../../app/service-runner.ts';
import { ExclusiveConsumer } from '../../infra/bus/mqtt/exclusive-consumer.ts';
import type { Receiver } from '../../infra/bus/port.ts';
import { RabbitmqBus } from '../../infra/bus/rabbitmq/index.ts';
import type { Database } from '../../infra/database/port.ts';
import { createApp } from '../../infra/http/app.ts';
import { listen } from '../../infra/http/server.ts';
import { connectTo } from '../../infra/mqtt/connect.ts';
import { ExternalPublisher } from '../../infra/mqtt/external-publisher.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import { call } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';

/** No server listens at this address. */
const AWAY = '127.0.0.1:9';
const log = pino({ level: 'silent' });
const receiver = {} as Receiver;

test('names the servers that are away, but not their addresses or errors', async () => {
  const topology = { prefix: 'test', groups: { points: ['order.placed'] } };
  const bus = new RabbitmqBus({ url: `amqp://shop:secret@${AWAY}`, topology, log });
  onTestFinished(() => bus.close());
  const amqp = await bus.subscribe('points', receiver);
  onTestFinished(() => amqp.close());
  const mqtt = new ExternalPublisher({ url: `mqtt://${AWAY}`, prefix: 'test', log });
  onTestFinished(() => mqtt.close());
  const session = (tryLock: Database['tryLock']) => {
    const options = { id: 'test-points', topics: [], probeTopic: 'probe', publisher: mqtt, log };
    const connect = connectTo(`mqtt://${AWAY}`);
    const consumer = new ExclusiveConsumer({ ...options, connect, database: { tryLock } }, receiver);
    void consumer.start();
    onTestFinished(() => consumer.close());
    return consumer;
  };
  const connecting = session(async () => ({ lost: new Promise(() => {}), release: async () => {} }));
  const locking = session(() => Promise.reject(new Error(`connect ECONNREFUSED ${AWAY}`)));
  await Promise.all([connecting.attempted, locking.attempted]);

  const consumers = { amqp, connecting, locking };
  const app = createApp(log, (api) =>
    serveOperations(api, {
      runners: Object.entries(consumers).map(
        ([name, subscription]) =>
          ({
            name,
            isHealthy: async () => true,
            state: async () => ({ ...subscription.health(), backlog: null, lastProgressAt: null }),
          }) as unknown as ServiceRunner,
      ),
      database: { query: () => Promise.reject(new Error(`connect ECONNREFUSED ${AWAY}`)) },
      resources: async () => ({ bus: bus.health(), mqtt: mqtt.health() }),
      otherLoops: async () => [],
      otherMetrics: async () => [],
      overload: { rejected: { lag: 0, busy: 0 }, lagMs: 0 } as never,
      metrics: new Metrics(),
      serving: () => true,
    }),
  );
  const server = await listen(app, '127.0.0.1', 0);
  onTestFinished(() => server.close());
  const answer = await call(`${server.url}/readyz`);
  const { resources, consumers: states } = answer.json(schemas.readiness);
  for (const [name, { status, detail }] of Object.entries({ ...resources, ...states }))
    expect([name, status, detail]).toEqual([name, 'down', expect.stringMatching(/./)]);
  expect(answer.text).not.toMatch(/127\.0\.0\.1|ECONNREFUSED|secret/);
});
