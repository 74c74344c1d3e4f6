// A RabbitMQ that withholds a reply: no caller waits for it for long, and work continues on another channel.
import { describe, expect, test, vi } from 'vitest';
import type { RabbitmqBusOptions } from '../../infra/bus/rabbitmq/options.ts';
import { queueOf } from '../../infra/bus/topology.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { startDeafProxy } from '../setup/deaf-proxy.ts';
import {
  codesOf,
  event,
  latch,
  openAdmin,
  openBus,
  PAUSES_MS,
  publishOne,
  Recorder,
  record,
  server,
  subscribe,
  topology,
} from '../setup/rabbitmq-bus.ts';
import { eventually } from '../setup/wait.ts';

describe('a broker that withholds a reply', () => {
  const replies = {
    'opening a channel': '20.11',
    'asking for confirms': '85.11',
    'declaring an exchange': '40.11',
    'declaring a queue': '50.11',
    'binding a queue': '50.21',
    'setting the prefetch': '60.11',
    consuming: '60.21',
    'ending a consumer': '60.31',
    'closing a channel': '20.41',
  };
  const replyTimeoutMs = 300;

  /** A bus through a proxy that can withhold replies. */
  async function openBehindProxy(options: Partial<RabbitmqBusOptions> = {}, withheld: readonly string[] = []) {
    const proxy = await startDeafProxy(server.amqpUrl);
    cleanUps.push(() => proxy.close());
    proxy.withhold(withheld);
    return { proxy, bus: await openBus({ url: proxy.url, replyTimeoutMs, ...options }) };
  }

  test.for([
    'opening a channel',
    'declaring an exchange',
    'declaring a queue',
    'binding a queue',
    'setting the prefetch',
    'consuming',
  ] as const)('%s: subscribing succeeds on another channel', async (what) => {
    const { proxy, bus } = await openBehindProxy({}, [replies[what]]);
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    expect(subscription.health().status).toBe('down');
    proxy.withhold([]);
    await recorder.toHandle([await publishOne(bus)]);
    await eventually(() => subscription.health().status === 'up', { what: 'dead letters are consumed too' });
  });

  test.for(['opening a channel', 'asking for confirms', 'declaring a queue', 'binding a queue'] as const)(
    '%s: publishing settles in time, and continues on another channel',
    async (what) => {
      const { proxy, bus } = await openBehindProxy({ confirmTimeoutMs: 500 }, [replies[what]]);
      expect(codesOf(await bus.publish([event()]))).toEqual(['unavailable']);
      proxy.withhold([]);
      await publishOne(bus);
      expect(bus.health()).toEqual({ status: 'up' });
    },
  );

  test('redeclaring the topology: publishing continues on another channel', async () => {
    const { proxy, bus } = await openBehindProxy({ confirmTimeoutMs: 500 });
    await publishOne(bus);
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 30_000);
    proxy.withhold([replies['declaring a queue']]);
    expect(codesOf(await bus.publish([event()]))).toEqual(['unavailable']);
    proxy.withhold([]);
    await publishOne(bus);
  });

  test('a rebuild starts a new attempt without waiting for the one that hangs', async () => {
    const { proxy, bus } = await openBehindProxy({ replyTimeoutMs: 60_000 });
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    proxy.withhold([replies.consuming]);
    const admin = await openAdmin();
    await admin.deleteQueue(queueOf(topology, 'points'));
    await eventually(() => subscription.health().status === 'down', { what: 'the consumer is cancelled' });
    const hangs = async () => (await (await openAdmin()).checkQueue(queueOf(topology, 'points'))).consumerCount === 1;
    await eventually(hangs, { what: 'the broker has withheld its reply' });
    proxy.withhold([]);
    await subscription.rebuild();
    expect(subscription.health()).toEqual({ status: 'up' });
    await recorder.toHandle([await publishOne(bus)]);
  });

  test('a connection on which no more channels open is replaced', async () => {
    const { proxy, bus } = await openBehindProxy();
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    const connections = async () => (await server.ctl('list_connections', 'pid')).trim();
    const before = await connections();
    proxy.withhold([replies['opening a channel']]);
    await subscription.rebuild();
    expect(subscription.health().status).toBe('down');
    proxy.withhold([]);
    await recorder.toHandle([await publishOne(bus)]);
    expect(await connections()).not.toBe(before);
  });

  test('the backlog is unknown until the reply arrives', async () => {
    const { proxy, bus } = await openBehindProxy();
    const subscription = await subscribe(bus, 'points', new Recorder());
    proxy.withhold([replies['declaring a queue']]);
    expect(await subscription.backlog()).toBeUndefined();
    proxy.withhold([]);
    expect(await subscription.backlog()).toBe(0);
  });

  test('a channel that does not close is abandoned, without affecting other groups', async () => {
    const { proxy, bus } = await openBehindProxy();
    const points = await record(bus, 'points');
    const subscription = await subscribe(bus, 'points', points);
    const hold = latch();
    let begun = 0;
    const coupon = new Recorder(() => {
      begun++;
      return hold.released;
    });
    await subscribe(bus, 'coupon', coupon);
    const id = await publishOne(bus);
    await eventually(() => begun === 1, { what: 'a handler has begun' });
    proxy.withhold([replies['closing a channel']]);
    for (let round = 0; round < 3; round++) await subscription.rebuild();
    expect(subscription.health()).toEqual({ status: 'up' });
    hold.release();
    await coupon.toHandle([id]);
    const next = await publishOne(bus);
    await Promise.all([points.toHandle([id, next]), coupon.toHandle([next])]);
    // Each delivered once: the channel was never lost.
    expect(coupon.handled).toEqual([id, next]);
  });

  test('closing ends in time', async () => {
    const { proxy, bus } = await openBehindProxy();
    const subscription = await subscribe(bus, 'points', new Recorder());
    await publishOne(bus);
    proxy.withhold([replies['ending a consumer'], replies['closing a channel']]);
    const startedAt = performance.now();
    await subscription.close();
    await bus.close();
    expect(performance.now() - startedAt).toBeLessThan(PAUSES_MS);
  });
});
