// The client ids of the system on a broker that accepts only ids with its prefix, and two systems on one broker.
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { MqttBus } from '../../infra/bus/mqtt/index.ts';
import { clientIdOf, isCommandId } from '../../infra/mqtt/client-ids.ts';
import { connectTo } from '../../infra/mqtt/connect.ts';
import { ExternalPublisher } from '../../infra/mqtt/external-publisher.ts';
import { Presence } from '../../infra/mqtt/presence.ts';
import { type Mosquitto, startMosquitto } from '../servers/mosquitto.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { receiverWith } from '../setup/receiver.ts';
import { eventually } from '../setup/wait.ts';

const log = pino({ level: 'silent' });

describe.skipIf(!inject('servers').mosquittoUrl)('on Mosquitto', () => {
  let broker: Mosquitto;
  beforeAll(async () => {
    broker = await startMosquitto({ settings: ['log_type all'] });
  });
  afterAll(() => broker?.stop());

  /** The broker's part of a process of the service points: a publisher, its presence, and its session. */
  async function installation(prefix: string, service = 'points') {
    const { mqttUrl: url } = broker;
    const publisher = new ExternalPublisher({ url, prefix, log, use: 'events' });
    cleanUps.push(() => publisher.close());
    const presence = new Presence({ broker: { url }, prefix, service, instance: 'one', log });
    presence.start();
    cleanUps.push(() => presence.stop());
    const topology = { prefix, groups: { [service]: ['order.placed'] } };
    const lock = { lost: new Promise<void>(() => undefined), release: async () => undefined };
    const database = { tryLock: async () => lock };
    const bus = new MqttBus({ topology, publisher, connect: connectTo(url), database, log });
    const received: string[] = [];
    const receiver = receiverWith({
      enqueue: async (batch) => void received.push(...batch.map(({ body }) => body.toString())),
    });
    const subscription = await bus.subscribe(service, receiver);
    cleanUps.push(() => subscription.close());
    await eventually(() => publisher.health().status === 'up', { what: 'the publisher is connected' });
    return { bus, received, subscription };
  }

  test('two systems with different prefixes neither take over sessions nor receive events of the other', async () => {
    const [one, two] = [await installation('one'), await installation('two')];
    const event = (id: string) => ({ id, type: 'order.placed', body: `{"id":"${id}"}` });
    expect(await one.bus.publish([event('1')])).toEqual([]);
    expect(await two.bus.publish([event('2')])).toEqual([]);
    await eventually(() => one.received.length > 0 && two.received.length > 0, { what: 'both have received' });
    expect([one.received, two.received]).toEqual([[event('1').body], [event('2').body]]);
    expect([one.subscription.health(), two.subscription.health()]).toEqual([{ status: 'up' }, { status: 'up' }]);

    const written = await broker.log();
    const ids = Array.from(written.matchAll(/New client connected from \S+ as (\S+)/g), ([, id]) => String(id));
    const own = ids.filter((id) => !id.startsWith('mqttjs_')); // the readiness of the test's server
    for (const prefix of ['one', 'two']) {
      const its = own.filter((id) => id.startsWith(`${prefix}-`)).map((id) => id.replace(/-\d[a-z0-9]{5}$/, ''));
      const expected = ['points', 'presence', 'publisher'].map((name) => `${prefix}-${name}`);
      expect([...new Set(its)].sort()).toEqual(expect.arrayContaining(expected));
    }
    expect(own.filter((id) => !/^(one|two)-/.test(id))).toEqual([]);
    expect(written).not.toMatch(/already connected/);
  });
});

test('an id of a command is not one of a session', () => {
  expect(isCommandId(clientIdOf('shop', 'logs'), 'shop')).toBe(true);
  expect(isCommandId(clientIdOf('shop', 'publisher'), 'shop')).toBe(false);
  for (const id of ['shop-points', 'shop-logs', 'shop-logs-points', 'other-logs-abc123', 'shop'])
    expect(isCommandId(id, 'shop'), id).toBe(false);
  expect(clientIdOf('sluice', 'publisher').length).toBeLessThanOrEqual(23);
});
