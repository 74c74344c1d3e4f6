// Attacks of buyers on each MQTT broker: they read their own notifications and nothing else.
import { connect as connectAmqp } from 'amqplib';
import type { IClientOptions, MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { userTopic } from '../../infra/mqtt/topics.ts';
import { call } from '../setup/api.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { eventually } from '../setup/wait.ts';
import {
  type BrokerUnderAttack,
  embedded,
  type Login,
  mosquitto,
  prefix,
  type RabbitmqUnderAttack,
  rabbitmq,
  tokenOf,
} from './support/mqtt-brokers.ts';

const odd = 'b.o:b@shop-1';
const users = ['bob', 'eve', odd];

/** How a broker reacts to an attack. Nothing ever arrives. */
interface Behaviour {
  /** To a subscription to what the user may not read. */
  readonly subscribe: 'rejected' | 'disconnected' | 'granted';
  readonly publish: 'disconnected' | 'acknowledged';
  readonly will: 'rejected' | 'connected';
  /** Whether users may have sessions that outlast a connection. */
  readonly sessions: boolean;
  /** To a connection with the client id of another user. */
  readonly takeOver: 'rejected' | 'connected';
  readonly tokens: boolean;
}

const { mosquittoUrl, amqpUrl } = inject('servers');

describe.for<{ name: string; start: () => Promise<BrokerUnderAttack>; missing: boolean; behaviour: Behaviour }>([
  {
    name: 'the embedded broker',
    start: embedded,
    missing: false,
    behaviour: {
      subscribe: 'rejected',
      publish: 'disconnected',
      will: 'rejected',
      sessions: false,
      takeOver: 'connected',
      tokens: true,
    },
  },
  {
    name: "RabbitMQ's MQTT plugin",
    start: rabbitmq,
    missing: !amqpUrl,
    behaviour: {
      subscribe: process.env.TEST_RABBITMQ === '4' ? 'rejected' : 'disconnected',
      publish: 'disconnected',
      will: 'connected',
      sessions: true,
      takeOver: 'rejected',
      tokens: true,
    },
  },
  {
    name: 'Mosquitto',
    start: () => mosquitto(...users),
    missing: !mosquittoUrl,
    behaviour: {
      subscribe: 'granted',
      publish: 'acknowledged',
      will: 'connected',
      sessions: true,
      takeOver: 'connected',
      tokens: false,
    },
  },
])('$name', ({ name, start, missing, behaviour }) => {
  let broker: BrokerUnderAttack;
  /** For tests of brokers that have this feature. */
  const describeWhere = (applies: boolean) =>
    applies ? describe.skipIf(missing) : (_name: string, _tests: () => void) => undefined;
  beforeAll(async () => {
    if (!missing) broker = await start();
  });
  afterAll(() => broker?.stop());

  /** Ends with the test. */
  function recording(client: MqttClient) {
    const received: string[] = [];
    client.on('message', (_topic, payload) => received.push(payload.toString()));
    client.on('error', () => undefined);
    cleanUps.push(() => client.endAsync(true));
    return { client, received };
  }

  const open = async (user: string, options: IClientOptions = {}) =>
    recording(broker.connect(await broker.loginOf(user), { clientId: broker.clientId(user, 'phone'), ...options }));

  const openWith = (login: Login, clientId = 'eve/phone', options: IClientOptions = {}) =>
    recording(broker.connect(login, { clientId, ...options }));

  /** A client of the user that reads its notifications. */
  async function reading(user: string, options: IClientOptions = {}) {
    const reader = await open(user, options);
    await reader.client.subscribeAsync(userTopic(prefix, user), { qos: 1 });
    return reader;
  }

  /** A client of the system that reads everything. */
  async function watching() {
    const watcher = recording(broker.connectService());
    await watcher.client.subscribeAsync('sluice/#', { qos: 1 });
    return watcher;
  }

  const disconnected = (client: MqttClient) =>
    new Promise<'disconnected'>((resolve) => {
      client.once('close', () => resolve('disconnected'));
    });

  /** Rejected: by the response to CONNECT. A connection that only ends is none. */
  const connecting = (client: MqttClient) =>
    new Promise<'connected' | 'rejected'>((resolve) => {
      client.once('connect', () => resolve('connected'));
      client.once('error', (error) => 'code' in error && typeof error.code === 'number' && resolve('rejected'));
    });

  const subscribing = (client: MqttClient, filter: string) =>
    Promise.race([
      disconnected(client),
      client.subscribeAsync(filter, { qos: 1 }).then(
        () => 'granted' as const,
        () => 'rejected' as const,
      ),
    ]);

  const publishing = (client: MqttClient, topic: string, retain: boolean) =>
    Promise.race([
      disconnected(client),
      client.publishAsync(topic, 'forged', { qos: 1, retain }).then(() => 'acknowledged' as const),
    ]);

  const received = (client: { readonly received: readonly string[] }, message: string) =>
    eventually(() => client.received.includes(message), { what: `the message "${message}"` });

  describe.skipIf(missing)('a buyer', () => {
    const bobs = userTopic(prefix, 'bob');

    test.for([
      bobs,
      'sluice/users/bob',
      'sluice/users/bob/#',
      'sluice/users/+/notifications',
      '+/users/+/notifications',
      'sluice/users/#',
      'sluice/#',
      '+/#',
      '#',
      '$SYS/#',
      '$share/g/sluice/users/bob/notifications',
      '$share/g/#',
      'sluice/events/#',
      'sluice/logs/#',
      'sluice/users/eve2/notifications',
      // In AMQP, the first is the topic of bob, and `*` is a wildcard.
      'sluice.users.bob.notifications',
      'sluice/users/*/notifications',
    ])('receives only its own notifications, also with a subscription to %s', async (filter) => {
      await broker.publish(bobs, 'retained for bob', true);
      cleanUps.push(() => broker.publish(bobs, '', true));
      const bob = await reading('bob');
      const eve = await reading('eve');

      expect(await subscribing(eve.client, filter)).toBe(behaviour.subscribe);
      await broker.publish('sluice/events/order/placed', 'event');
      await broker.publish('sluice/logs/points', 'line');
      await broker.publish('sluice/users/eve2/notifications', 'for eve2');
      await broker.publish(bobs, 'for bob');
      await received(bob, 'for bob');
      expect(bob.received).toContain('retained for bob');
      if (behaviour.subscribe !== 'disconnected') {
        await broker.publish(userTopic(prefix, 'eve'), 'for eve');
        await received(eve, 'for eve');
      }
      // A filter may cover its own topic as well: twice.
      expect(eve.received.filter((message) => message !== 'for eve')).toEqual([]);
    });

    test.for([
      [bobs, false],
      [bobs, true],
      [userTopic(prefix, 'eve'), false],
      ['sluice/events/order/placed', false],
      ['sluice/services/points/1', true],
    ] as const)('publishes nothing: %s, retained: %s', async ([topic, retain]) => {
      const system = await watching();
      const eve = await open('eve');

      expect(await publishing(eve.client, topic, retain)).toBe(behaviour.publish);
      const late = await reading('bob');
      await broker.publish(bobs, 'for bob');
      await received(late, 'for bob');
      await received(system, 'for bob');
      expect([...late.received, ...system.received]).not.toContain('forged');
    });

    test.for([false, true])('publishes nothing by a Will, retained: %s', async (retain) => {
      const system = await watching();
      const will = { topic: bobs, payload: Buffer.from('forged'), qos: 1, retain } as const;
      const eve = await open('eve', { will });

      expect(await connecting(eve.client)).toBe(behaviour.will);
      eve.client.stream.destroy();
      if (behaviour.will === 'connected') {
        // The system's own Will comes after that of eve.
        const lost = broker.connectService({
          will: { ...will, topic: 'sluice/services/points/1', payload: Buffer.from('lost') },
        });
        cleanUps.push(() => broker.publish('sluice/services/points/1', '', true));
        recording(lost);
        expect(await connecting(lost)).toBe('connected');
        lost.stream.destroy();
        await received(system, 'lost');
      }
      const late = await reading('bob');
      await broker.publish(bobs, 'for bob');
      await received(late, 'for bob');
      expect([...late.received, ...system.received]).not.toContain('forged');
    });

    test('gets nothing of a session of another user', async () => {
      const clientId = broker.clientId('bob', 'session');
      const bob = await open('bob', { clientId, clean: false });
      expect(await connecting(bob.client)).toBe(behaviour.sessions ? 'connected' : 'rejected');
      if (!behaviour.sessions) return;
      cleanUps.push(async () => {
        expect(await connecting((await open('bob', { clientId })).client)).toBe('connected');
      });
      await bob.client.subscribeAsync(bobs, { qos: 1 });
      await bob.client.endAsync();
      await broker.publish(bobs, 'while away');

      const eve = await open('eve', { clientId, clean: false });
      expect(await connecting(eve.client)).toBe(behaviour.takeOver);
      if (behaviour.takeOver === 'connected') {
        await eve.client.subscribeAsync(userTopic(prefix, 'eve'), { qos: 1 });
        await broker.publish(userTopic(prefix, 'eve'), 'for eve');
        await received(eve, 'for eve');
      }
      expect(eve.received.filter((message) => message !== 'for eve')).toEqual([]);
      await received(await open('bob', { clientId, clean: false }), 'while away');
    });

    test('does not end the connection of another user by its client id', async () => {
      const clientId = broker.clientId('bob', 'phone');
      const bob = await reading('bob', { clientId });
      const eve = await open('eve', { clientId });
      expect(await connecting(eve.client)).toBe(behaviour.takeOver);
      await broker.publish(bobs, 'for bob');
      await received(bob, 'for bob');
      expect(bob.client.connected).toBe(true);
      expect(eve.received).toEqual([]);
    });

    test('has no client id of the system', async () => {
      const eve = await open('eve', { clientId: 'sluice-points' });
      // Mosquitto takes the user name instead.
      expect(await connecting(eve.client)).toBe(behaviour.tokens ? 'rejected' : 'connected');
    });

    test('with dots, colons and @ in its id reads its own topic, by the percent-encoded user name', async () => {
      const reader = await reading(odd);
      await broker.publish(userTopic(prefix, odd), 'for the odd one');
      await received(reader, 'for the odd one');
      const { password } = await broker.loginOf(odd);
      const raw = openWith({ username: odd, password }, `${odd}/phone`);
      expect(await connecting(raw.client)).toBe('rejected');
    });

    test('needs its own user name and password', async () => {
      const bob = await broker.loginOf('bob');
      const eve = await broker.loginOf('eve');
      const logins: Record<string, Login> = {
        'no user name': {},
        'no password': { username: 'bob' },
        'an empty password': { username: 'bob', password: '' },
        'a wrong password': { username: 'bob', password: 'guess' },
        'the password of another user': { username: 'bob', password: eve.password },
        'the user name in capitals': { username: 'BOB', password: bob.password },
        'a wildcard as user name': { username: '+', password: bob.password },
        'the default user of RabbitMQ': { username: 'guest', password: 'guest' },
      };
      for (const [what, login] of Object.entries(logins)) {
        const { client } = openWith(login, 'bob/phone');
        expect(await connecting(client), what).toBe('rejected');
        await client.endAsync(true);
      }
      const { client } = openWith(bob, 'bob/phone');
      expect(await connecting(client)).toBe('connected');
    });
  });

  describeWhere(behaviour.tokens)('a token', () => {
    test('must be valid', async () => {
      const token = await tokenOf('bob');
      const [header, , signature] = token.split('.');
      const claims = Buffer.from(JSON.stringify({ sub: 'bob', exp: 4_102_444_800 })).toString('base64url');
      const none = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
      const passwords = {
        expired: await tokenOf('bob', { expiresInSeconds: -60 }),
        'with other claims': `${header}.${claims}.${signature}`,
        unsigned: `${none}.${claims}.`,
        'longer than allowed': token + 'a'.repeat(8_192),
      };
      for (const [what, password] of Object.entries(passwords)) {
        const { client } = openWith({ username: 'bob', password }, 'bob/phone');
        expect(await connecting(client), what).toBe('rejected');
      }
    });

    test('of an operator reads everything of the system, and nothing else', async () => {
      const login = { username: 'ops', password: await tokenOf('ops', { roles: ['operator'] }) };
      const operator = openWith(login, broker.clientId('ops', 'console'));
      expect(await subscribing(operator.client, 'sluice/#')).toBe('granted');
      await broker.publish('sluice/events/order/placed', 'event');
      await received(operator, 'event');
      expect(await subscribing(operator.client, '#')).toBe(behaviour.subscribe);
      const command = openWith(login, 'sluice-logs-0abcde');
      expect(await subscribing(command.client, 'sluice/logs/#')).toBe('granted');
      expect(await publishing(command.client, 'sluice/events/order/placed', false)).toBe('disconnected');
    });

    test('of a service is that of any other user', async () => {
      const { client } = openWith(
        { username: 'points', password: await tokenOf('points', { roles: ['service'] }) },
        broker.clientId('points', 'one'),
      );
      expect(await subscribing(client, 'sluice/users/points/#')).toBe('granted');
      expect(await subscribing(client, 'sluice/#')).toBe(behaviour.subscribe);
    });

    test(`that expires ${name === 'the embedded broker' ? 'ends its connection' : 'does not end its connection'}`, async () => {
      const password = await tokenOf('eve', { expiresInSeconds: name === 'the embedded broker' ? 3 : -25 });
      const eve = openWith({ username: 'eve', password }, broker.clientId('eve', 'phone'));
      await eve.client.subscribeAsync(userTopic(prefix, 'eve'), { qos: 1 });
      if (name === 'the embedded broker') {
        await disconnected(eve.client);
        return;
      }
      await eventually(
        async () => {
          const { client } = openWith({ username: 'eve', password }, broker.clientId('eve', 'tablet'));
          return (await connecting(client)) === 'rejected';
        },
        { what: 'the token has expired' },
      );
      await broker.publish(userTopic(prefix, 'eve'), 'for eve');
      await received(eve, 'for eve');
    });
  });

  describeWhere(name === 'Mosquitto')('a shared subscription', () => {
    test('loses messages to a user that joins it, and that user receives none', async () => {
      const topic = '$share/g/sluice/users/bob/notifications';
      const bob = await open('bob');
      const eve = await open('eve');
      for (const { client } of [bob, eve]) await client.subscribeAsync(topic, { qos: 1 });
      for (const message of ['1', '2', '3', '4']) await broker.publish('sluice/users/bob/notifications', message);
      await bob.client.subscribeAsync('sluice/users/bob/last', { qos: 1 });
      await eve.client.subscribeAsync('sluice/users/eve/last', { qos: 1 });
      for (const user of ['bob', 'eve']) await broker.publish(`sluice/users/${user}/last`, 'last');
      for (const each of [bob, eve]) await received(each, 'last');
      expect(bob.received).toHaveLength(3);
      expect(eve.received).toEqual(['last']);
    });
  });

  describeWhere(name === "RabbitMQ's MQTT plugin")('the routes for RabbitMQ', () => {
    const ask = async (path: string, fields: Record<string, string>, token?: string) => {
      const { url, serviceToken } = broker as RabbitmqUnderAttack;
      const credentials = Buffer.from(`token:${token ?? serviceToken}`).toString('base64');
      return call(`${url}/mqtt-auth/${path}`, {
        method: 'POST',
        headers: { authorization: `Basic ${credentials}`, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(fields).toString(),
      });
    };

    test('require the token of a service', async () => {
      const fields = { username: 'bob', vhost: '/' };
      expect(await ask('vhost', fields)).toMatchObject({ status: 200, text: 'allow' });
      expect(await ask('vhost', fields, 'guess')).toMatchObject({ status: 401 });
      expect(await ask('vhost', fields, await tokenOf('bob'))).toMatchObject({ status: 403 });
    });

    test.for([
      ['vhost', { vhost: 'other' }],
      ['user', { password: '' }],
      ['resource', { resource: 'queue', name: 'sluice.points', permission: 'read' }],
      ['resource', { resource: 'queue', name: 'mqtt-subscription-sluice-pointsqos1', permission: 'read' }],
      ['resource', { resource: 'queue', name: 'mqtt-subscription-eve/phoneqos1', permission: 'read' }],
      ['resource', { resource: 'queue', name: 'mqtt-will-bob/phone', permission: 'configure' }],
      ['resource', { resource: 'exchange', name: 'amq.topic', permission: 'write' }],
      ['resource', { resource: 'exchange', name: 'sluice.events', permission: 'read' }],
      ['resource', { resource: 'topic', name: 'amq.topic', permission: 'read' }],
      ['topic', { name: 'amq.topic', permission: 'write', routing_key: 'sluice.users.bob.notifications' }],
      ['topic', { name: 'sluice.events', permission: 'read', routing_key: 'sluice.users.bob.notifications' }],
    ] as const)('deny a buyer: %s %j', async ([path, fields]) => {
      expect(await ask(path, { username: 'bob', tags: '', ...fields })).toMatchObject({ status: 200, text: 'deny' });
    });

    test('admit no client of AMQP, whose queues are those of the system', async () => {
      const url = new URL((broker as RabbitmqUnderAttack).amqpUrl);
      Object.assign(url, await broker.loginOf('bob'));
      await expect(connectAmqp(url.href)).rejects.toThrow('ACCESS_REFUSED');
    });

    test('log no token', async () => {
      const { log, serviceToken } = broker as RabbitmqUnderAttack;
      const { password = '' } = await broker.loginOf('bob');
      expect(await connecting(openWith({ username: 'eve', password }).client)).toBe('rejected');
      expect(log.join('')).toContain('MQTT client at RabbitMQ rejected');
      for (const token of [serviceToken, password]) expect(log.join('')).not.toContain(token);
    });
  });
});
