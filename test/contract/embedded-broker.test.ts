// The MQTT broker inside the process: its storage, the access of external clients, and its limits for them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { RequestGuard } from '../../infra/http/request-guard.ts';
import { EmbeddedBroker } from '../../infra/mqtt/embedded/broker.ts';
import { Presence } from '../../infra/mqtt/presence.ts';
import { userTopic } from '../../infra/mqtt/topics.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { listen } from '../setup/listen.ts';
import { eventually } from '../setup/wait.ts';

const log = pino({ level: 'silent' });
const prefix = 'p';

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-broker-'));
  cleanUps.push(() => rm(folder, { recursive: true }));
  return folder;
}

async function start(dataDir?: string, port = 0): Promise<EmbeddedBroker> {
  const folder = dataDir ?? (await freshFolder());
  const broker = await EmbeddedBroker.start({ dataDir: folder, host: '127.0.0.1', port, prefix, log });
  cleanUps.push(() => broker.close());
  return broker;
}

/** Records the messages that the client receives. Ends with the test. */
function collecting(client: MqttClient) {
  const received: string[] = [];
  client.on('message', (_topic, payload) => received.push(payload.toString()));
  client.on('error', () => {});
  cleanUps.push(() => client.endAsync(true));
  return { client, received };
}

const externalClient = (broker: EmbeddedBroker, options: IClientOptions = {}) =>
  collecting(mqtt.connect(`mqtt://127.0.0.1:${broker.port}`, { reconnectPeriod: 0, ...options }));

const session = (broker: EmbeddedBroker) => collecting(broker.connectInternal({ clientId: 'p-group', clean: false }));

const connected = (client: MqttClient) =>
  new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve()).once('error', reject);
  });
const closed = (client: MqttClient) => new Promise<void>((resolve) => client.once('close', () => resolve()));

const numbers = (count: number) => Array.from({ length: count }, (_, index) => String(index));
const sorted = (values: Iterable<string>) => [...values].sort((a, b) => Number(a) - Number(b));

describe('publishing', () => {
  test('delivers 2,000 concurrent publishes to a connected session, without a reconnect', async () => {
    const broker = await start();
    const { client, received } = session(broker);
    let connects = 0;
    client.on('connect', () => connects++);
    await client.subscribeAsync('p/events/a', { qos: 1 });

    await Promise.all(
      numbers(2_000).map((n) => broker.publisher.publish('p/events/a', n, { qos: Number(n) % 2 ? 1 : 2 })),
    );

    await eventually(() => received.length >= 2_000, { what: 'all 2,000 messages' });
    expect(sorted(received)).toEqual(numbers(2_000));
    expect(connects).toBe(1);
  });

  test('loses no QoS 1 message when QoS 0 messages overtake it', async () => {
    const broker = await start();
    const { client, received } = externalClient(broker);
    await client.subscribeAsync(['p/users/u/notifications', 'p/live/#'], { qos: 1 });
    // A session on the same topic makes storing slow enough to be overtaken.
    await session(broker).client.subscribeAsync('p/users/u/notifications', { qos: 1 });

    for (const n of numbers(300)) {
      const stored = broker.publisher.publish('p/users/u/notifications', n, { qos: 1 });
      setImmediate(() => void broker.publisher.publish('p/live/order/placed', 'live', { qos: 0 }));
      await stored;
    }

    const notifications = () => received.filter((payload) => payload !== 'live');
    await eventually(() => notifications().length >= 300, { what: 'all 300 notifications' });
    expect(notifications()).toEqual(numbers(300));
    expect(received).toContain('live');
  });

  test('delivers missed messages to a session, also after a restart', async () => {
    const dataDir = await freshFolder();
    const before = await start(dataDir);
    const { client } = session(before);
    await client.subscribeAsync('p/events/a', { qos: 1 });
    await client.endAsync();
    for (const n of numbers(50)) await before.publisher.publish('p/events/a', n, { qos: 2 });
    await before.close();

    const { received } = session(await start(dataDir));
    await eventually(() => received.length >= 50, { what: 'the 50 missed messages' });
    expect(sorted(received)).toEqual(numbers(50));
  });

  test.each([1, 2] as const)('keeps unacknowledged messages in a session, published with QoS %i', async (qos) => {
    const broker = await start();
    const { client } = session(broker);
    await client.subscribeAsync('p/events/a', { qos: 1 });
    await client.endAsync();
    for (const n of numbers(10)) await broker.publisher.publish('p/events/a', n, { qos });

    const forgetful = session(broker);
    forgetful.client.handleMessage = (_packet, callback) => callback(new Error('not stored'));
    await eventually(() => forgetful.received.length >= 10, { what: 'all messages are sent' });
    await forgetful.client.endAsync(true);

    const { received } = session(broker);
    await eventually(() => received.length >= 10, { what: 'all messages are sent again' });
    expect(sorted(received)).toEqual(numbers(10));
  });

  test('loses no confirmed message after kill -9, and clears the presence of the killed process', async () => {
    const dataDir = await freshFolder();
    const script = fileURLToPath(new URL('embedded-broker.child.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', script, dataDir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const confirmed = new Set<string>();
    for await (const line of createInterface({ input: child.stdout })) {
      confirmed.add(line);
      if (confirmed.size === 300) child.kill('SIGKILL');
    }

    const broker = await start(dataDir);
    const { received } = session(broker);
    await eventually(() => [...confirmed].every((n) => received.includes(n)), { what: 'every confirmed message' });

    const watcher = externalClient(broker);
    await watcher.client.subscribeAsync('p/services/#', { qos: 1 });
    const presence = new Presence({ broker, prefix, service: 'new', instance: '2', log });
    presence.start();
    cleanUps.push(() => presence.stop());
    await eventually(() => watcher.received.length > 0, { what: 'the presence of the new process' });
    expect(watcher.received).toEqual(['online']);
  });
});

describe('external clients', () => {
  test('may subscribe to logs, presence, the live view and one user at a time, and to nothing else', async () => {
    const { client } = externalClient(await start());
    const granted = async (topic: string) => {
      const result = await client.subscribeAsync(topic, { qos: 1 }).catch((error) => error as { code: number });
      return Array.isArray(result);
    };
    const allowed = ['p/logs/#', 'p/logs/points', 'p/services/+/+', 'p/live/#', 'p/users/u%2E1/notifications'];
    for (const topic of [...allowed, userTopic(prefix, 'a.b@c')]) expect(await granted(topic), topic).toBe(true);
    const rejected = ['#', '+/logs/#', 'p/#', 'p/+/x', 'p/events/#', 'p/events/order/placed', '$SYS/#', 'q/logs/#'];
    const others = [
      'p/users/#',
      'p/users/+/notifications',
      'p/users',
      'p/users//x',
      'pp/logs/a',
      '$share/g/p/events/#',
    ];
    for (const topic of [...rejected, ...others]) expect(await granted(topic), topic).toBe(false);
  });

  test('are disconnected when they publish, and their message reaches no subscriber', async () => {
    const broker = await start();
    const internal = session(broker);
    await internal.client.subscribeAsync('#', { qos: 1 });
    for (const topic of ['p/events/order/placed', 'p/users/u/notifications', 'elsewhere']) {
      const { client } = externalClient(broker);
      await connected(client);
      client.publish(topic, 'forged', { qos: 1 });
      await closed(client);
    }
    await broker.publisher.publish('p/events/end', 'end', { qos: 1 });
    await eventually(() => internal.received.includes('end'), { what: 'the last message' });
    expect(internal.received).toEqual(['end']);
  });

  test.for<[string, IClientOptions]>([
    ['a Will', { will: { topic: 'p/events/a', payload: Buffer.from('forged'), qos: 1, retain: false } }],
    ['a persistent session', { clientId: 'mine', clean: false }],
    ["the client id of a service's session", { clientId: 'p-points' }],
  ])('are rejected with %s', async ([, options]) => {
    const { client } = externalClient(await start(), options);
    await expect(connected(client)).rejects.toThrow('Not authorized');
  });

  test('are disconnected when they announce a packet larger than 16 KiB, even byte by byte', async () => {
    const broker = await start();
    const socket = connectSocket(broker.port, '127.0.0.1');
    cleanUps.push(() => socket.destroy());
    await once(socket, 'connect');
    const closing = once(socket.resume(), 'close');
    // CONNECT, remaining length 1 MiB in three bytes, byte by byte.
    for (const byte of [0x10, 0x80, 0x80, 0x40]) {
      socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    await closing;
  });

  test('are disconnected when they stop reading, without delaying others', async () => {
    const broker = await start();
    const frozen = externalClient(broker);
    const reading = externalClient(broker);
    for (const { client } of [frozen, reading]) await client.subscribeAsync('p/users/u/notifications', { qos: 1 });
    let thaw = () => {};
    frozen.client.handleMessage = (_packet, callback) => {
      thaw = callback;
    };

    const payload = 'x'.repeat(60 * 1024);
    let slowest = 0;
    for (let sent = 0; sent < 300; sent++) {
      const startedAt = performance.now();
      await broker.publisher.publish('p/users/u/notifications', payload, { qos: 1 });
      slowest = Math.max(slowest, performance.now() - startedAt);
    }

    await eventually(() => reading.received.length === 300, { what: 'the reading client has everything' });
    // The frozen client sees the disconnect when it reads again.
    const gone = closed(frozen.client);
    frozen.client.handleMessage = (_packet, callback) => callback();
    thaw();
    await gone;
    expect(frozen.received.length).toBeLessThan(300);
    // Aedes alone would wait for its drain timeout of 10 s. The limit leaves room for pauses of a busy machine.
    expect(slowest).toBeLessThan(5_000);
  });
});

describe('WebSocket', () => {
  async function withHttp() {
    const broker = await start();
    const server = createServer((_request, response) => response.end('page'));
    const guard = new RequestGuard({ hosts: [], origins: ['https://shop.example.org'], exposedHeaders: [] });
    broker.acceptWebSockets(server, (request, socket) =>
      guard.admitUpgrade(request, socket) ? '127.0.0.1' : undefined,
    );
    const host = `127.0.0.1:${await listen(server)}`;
    cleanUps.push(() => server.close());
    const open = (headers: Record<string, string>, path = '/mqtt') =>
      collecting(mqtt.connect(`ws://${host}${path}`, { reconnectPeriod: 0, wsOptions: { headers } }));
    return { broker, host, open };
  }

  test('accepts pages of the same origin and of CORS_ORIGINS, and programs, which send no origin', async () => {
    const { broker, host, open } = await withHttp();
    for (const headers of [{ Origin: `http://${host}` }, { Origin: 'https://shop.example.org' }, {}]) {
      const { client, received } = open(headers);
      await client.subscribeAsync('p/users/u/notifications', { qos: 1 });
      await broker.publisher.publish('p/users/u/notifications', 'hello', { qos: 1 });
      await eventually(() => received[0] === 'hello', { what: 'the notification' });
    }
  });

  test('rejects other origins and other paths', async () => {
    const { host } = await withHttp();
    const rejection = (origin: string | undefined, path = '/mqtt') =>
      once(new WebSocket(`ws://${host}${path}`, 'mqtt', origin === undefined ? {} : { origin }), 'open');
    for (const origin of ['http://evil.example', 'null', 'http://127.0.0.1:1', `http://${host}.evil.example`]) {
      await expect(rejection(origin), origin).rejects.toThrow('403');
    }
    await expect(rejection(undefined, '/other')).rejects.toThrow('404');
    const rebound = new WebSocket(`ws://${host}/mqtt`, 'mqtt', { headers: { Host: 'evil.example' } });
    await expect(once(rebound, 'open')).rejects.toThrow('421');
  });
});

describe('starting', () => {
  test('rejects a folder that another process uses, and says what to do', async () => {
    const dataDir = await freshFolder();
    const first = await start(dataDir);
    await expect(start(dataDir)).rejects.toMatchObject({
      name: 'DataDirInUse',
      message: expect.stringMatching(new RegExp(`${dataDir}.*DATA_DIR`)),
    });
    await first.close();
    await (await start(dataDir)).close();
  });

  test('rejects a port that is in use, names the variable, and releases the folder', async () => {
    const { port } = await start();
    const dataDir = await freshFolder();
    await expect(start(dataDir, port)).rejects.toMatchObject({
      name: 'MqttPortInUse',
      message: expect.stringContaining(`MQTT_PORT ${port}`),
    });
    await start(dataDir);
  });

  test('stores pending publishes on close, and rejects later ones', async () => {
    const broker = await start();
    const pending = numbers(100).map((n) => broker.publisher.publish('p/events/a', n, { qos: 1 }));
    await broker.close();
    await Promise.all(pending);
    await expect(broker.publisher.publish('p/events/a', 'late', { qos: 1 })).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});
