// Limits of an MQTT broker: found by trying, named with what to change, and shown as degraded by a process that is
// connected. Each is a setting of a real Mosquitto.
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, inject, test } from 'vitest';
import { MqttBus } from '../../infra/bus/mqtt/index.ts';
import { type BrokerUse, brokerFaults, brokerVersion } from '../../infra/mqtt/broker-check.ts';
import { BrokerLimits } from '../../infra/mqtt/broker-limits.ts';
import { type Connect, connectTo, endConnection } from '../../infra/mqtt/connect.ts';
import { ExternalPublisher } from '../../infra/mqtt/external-publisher.ts';
import { type Mosquitto, startMosquitto } from '../servers/mosquitto.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { receiverWith } from '../setup/receiver.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const { mosquittoUrl, rabbitMqttUrl } = inject('servers');
const DEPTH = 1_200;

const faultsOf = (connect: Connect, uses: readonly BrokerUse[] = ['events', 'notifications'], prefix = freshPrefix()) =>
  brokerFaults({ connect, hosts: 1, prefix, uses, depth: DEPTH, signal: new AbortController().signal });

async function start(...settings: string[]): Promise<Mosquitto> {
  const broker = await startMosquitto({ settings });
  cleanUps.push(() => broker.stop());
  return broker;
}

describe.skipIf(!mosquittoUrl)('a Mosquitto', () => {
  test.each([
    ['max_qos 1', /^it ends the connection at a message with QoS 2, .*\(Mosquitto: max_qos 2\), or let another/],
    ['max_qos 0', /^it delivers with QoS 0 only, which loses messages: .*max_qos 2/],
    ['retain_available false', /^it ends the connection at a retained message, .*retain_available true/],
    ['max_packet_size 20000', /^it ends the connection at a message of 64 KiB, .*\(16 KiB arrive\): .*max_packet_size/],
    [
      'message_size_limit 3000',
      /^it (ends the connection at|confirms and drops) a message of 64 KiB, .*\(2 KiB arrive\)/,
    ],
    ['max_queued_messages 1000', /^it keeps 1000 of 1200 messages .* drops the others .*max_queued_messages/],
  ])('with %s has one fault, which says what to change', async (setting, fault) => {
    const { mqttUrl } = await start(setting);
    expect(await faultsOf(connectTo(mqttUrl))).toEqual([expect.stringMatching(fault)]);
  });

  test('whose rules deny a topic has one fault, which names the topic and the rule to grant', async () => {
    const file = join(tmpdir(), `${freshPrefix()}.acl`);
    cleanUps.push(() => rm(file));
    await writeFile(
      file,
      'topic readwrite shop/users/#\ntopic readwrite shop/services/#\ntopic readwrite shop/logs/#\n',
    );
    const { mqttUrl } = await start(`acl_file ${file}`);
    const connect = connectTo(mqttUrl);
    expect(await faultsOf(connect, ['events'], 'shop')).toEqual([
      expect.stringMatching(
        /shop\/events\/check\/.* grant it shop\/# \(Mosquitto: topic readwrite shop\/# in acl_file\)/,
      ),
    ]);
    expect(await faultsOf(connect, ['notifications'], 'shop')).toEqual([]);
  });

  test('behind a proxy that makes every session clean keeps no sessions', async () => {
    const { mqttUrl } = await start();
    const clean: Connect = (options) => connectTo(mqttUrl)({ ...options, clean: true });
    expect(await faultsOf(clean, ['events'])).toEqual([expect.stringMatching(/^it keeps no session, so events/)]);
  });

  test('with a limit makes a connected process degraded, which still publishes', async () => {
    const { mqttUrl: url } = await start('retain_available false');
    const lines: string[] = [];
    const recording = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
    const publisher = new ExternalPublisher({ url, prefix: 'shop', log: recording, use: 'notifications' });
    cleanUps.push(() => publisher.close());
    await eventually(() => publisher.health().status === 'degraded', { what: 'it is degraded' });
    expect(publisher.health().detail).toMatch(/^the broker has a limit: .*retain_available true/);
    expect(lines.join('')).toContain('degraded: the MQTT broker has a limit');
    await publisher.publish('shop/users/ann/notifications', 'x', { qos: 1 });
  });
});

test.skipIf(!mosquittoUrl)('a limit is checked again, until it is gone', async () => {
  const file = join(tmpdir(), `${freshPrefix()}.acl`);
  cleanUps.push(() => rm(file));
  await writeFile(file, 'topic readwrite other/#\n');
  const { mqttUrl: url, pid } = await start(`acl_file ${file}`);
  const log = pino({ level: 'silent' });
  const limits = new BrokerLimits({ url, prefix: 'shop', use: 'events', log, checkEveryMs: 200 });
  cleanUps.push(() => limits.stop());
  limits.check();
  await eventually(() => limits.faults.length > 0, { what: 'a fault is found' });
  await writeFile(file, 'topic readwrite shop/#\n');
  process.kill(Number(pid), 'SIGHUP'); // Mosquitto reads the file again
  await eventually(() => limits.faults.length === 0, { what: 'no fault is left' });
});

test.skipIf(!mosquittoUrl)('a process logs that the broker has forgotten its session', async () => {
  const broker = await start('persistence false');
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
  const publisher = new ExternalPublisher({ url: broker.mqttUrl, prefix: 'shop', log });
  cleanUps.push(() => publisher.close());
  const lock = { lost: new Promise<void>(() => undefined), release: async () => undefined };
  const topology = { prefix: 'shop', groups: { points: ['order.placed'] } };
  const database = { tryLock: async () => lock };
  const bus = new MqttBus({ topology, publisher, connect: connectTo(broker.mqttUrl), database, log });
  const subscription = await bus.subscribe('points', receiverWith({}));
  cleanUps.push(() => subscription.close());
  expect(subscription.health().status).toBe('up');
  await broker.restart();
  await eventually(() => lines.join('').includes('has forgotten the session'), { what: 'the log says so' });
  await eventually(() => subscription.health().status === 'up', { what: 'the session exists again' });
});

const brokers: [string, string | undefined][] = [
  ['Mosquitto', mosquittoUrl],
  ["RabbitMQ's plugin", rabbitMqttUrl],
];

test.each(brokers.filter(([, url]) => url !== undefined))(
  '%s has no fault, and keeps nothing of a check',
  async (_, url) => {
    const prefix = freshPrefix();
    const connect = connectTo(String(url));
    expect(await faultsOf(connect, ['events', 'notifications'], prefix)).toEqual([]);
    const client = connect({ clientId: `${prefix}-reader`, clean: true });
    cleanUps.push(() => endConnection(client));
    const retained: string[] = [];
    client.on('message', (topic, _payload, { retain }) => void (retain && retained.push(topic)));
    await client.subscribeAsync(`${prefix}/#`, { qos: 1 });
    // It arrives after the retained messages.
    await client.publishAsync(`${prefix}/end`, '', { qos: 1 });
    expect(retained).toEqual([]);
  },
);

test.skipIf(!mosquittoUrl)('a check leaves no session, also when it is interrupted', async () => {
  const broker = await start('sys_interval 1');
  const client = connectTo(broker.mqttUrl)({ clientId: 'reader', clean: true });
  cleanUps.push(() => endConnection(client));
  let total = Number.NaN;
  client.on('message', (_topic, payload) => {
    total = Number(payload.toString());
  });
  await client.subscribeAsync('$SYS/broker/clients/total', { qos: 0 });
  await faultsOf(connectTo(broker.mqttUrl));
  const interrupted = new AbortController();
  const running = brokerFaults({
    ...{ connect: connectTo(broker.mqttUrl), hosts: 1, prefix: 'shop', uses: ['events'], depth: 100_000 },
    signal: interrupted.signal,
  });
  setTimeout(() => interrupted.abort(new Error('interrupted')), 300);
  await expect(running).rejects.toThrow('interrupted');
  await eventually(() => total === 1, { what: 'only the reader is left' });
  expect(
    await brokerVersion({
      connect: connectTo(broker.mqttUrl),
      hosts: 1,
      prefix: 'shop',
      signal: new AbortController().signal,
    }),
  ).toMatch(/^mosquitto version 2/);
});
