// `sluice check` on a RabbitMQ that cannot carry the events, and what it leaves on one that can.
import { connect } from 'amqplib';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { checkServers } from '../../app/check/index.ts';
import { type Rabbitmq, startRabbitmq } from '../servers/rabbitmq.ts';

describe.skipIf(!inject('servers').amqpUrl)('a RabbitMQ', () => {
  let broker: Rabbitmq;
  beforeAll(async () => {
    broker = await startRabbitmq();
  }, 120_000);
  afterAll(() => broker?.stop());

  async function check(url: string) {
    const env = { AMQP_URL: url, BUS_PREFIX: 'shop', PAYMENT_URL: 'http://127.0.0.1:1', MQTT_URL: broker.mqttUrl };
    const { servers } = await checkServers(env, new AbortController().signal);
    const [node] = servers.filter(({ variable }) => variable === 'AMQP_URL');
    // What it can do is said only of one that can.
    expect(node?.facts.length).toBe(node?.problems.length === 0 ? 1 : 0);
    return node?.problems;
  }

  const named = async (kind: 'queues' | 'exchanges') =>
    (await broker.ctl(`list_${kind}`, 'name'))
      .split('\n')
      .filter((name) => name !== '' && !name.startsWith('amq.') && name !== 'name');

  test('that can has no problem, and keeps no queue and no exchange', async () => {
    expect(await check(broker.amqpUrl)).toEqual([]);
    expect([await named('queues'), await named('exchanges')]).toEqual([[], []]);
  }, 60_000);

  test('whose user may use only other names is named with the rights to grant', async () => {
    await broker.ctl('add_user', 'ann', 's3cret');
    await broker.ctl('set_permissions', 'ann', '^other', '^other', '^other');
    const problems = await check(broker.amqpUrl.replace(/\/\/.*@/, '//ann:s3cret@'));
    expect(problems).toEqual([
      expect.stringMatching(
        /^its user may not do what a start does \(.*\): rabbitmqctl set_permissions -p '\/' 'ann' '\^shop/,
      ),
    ]);
    await broker.ctl('set_permissions', 'ann', '^shop\\.', '^shop\\.', '^shop\\.');
    expect(await check(broker.amqpUrl.replace(/\/\/.*@/, '//ann:s3cret@'))).toEqual([]);
  }, 60_000);

  test('whose virtual host is missing is named', async () => {
    expect(await check(`${broker.amqpUrl}/none`)).toEqual([
      expect.stringMatching(/^no connection: there is no vhost "none", or the user "sluice" may not use it/),
    ]);
  });

  test('with a queue of other arguments is named', async () => {
    const connection = await connect(broker.amqpUrl);
    const channel = await connection.createChannel();
    await channel.assertQueue('shop.points', { durable: true });
    expect(await check(broker.amqpUrl)).toEqual([
      expect.stringMatching(
        /^the queue shop\.points exists with other arguments \(.*\): let its messages be handled, delete it/,
      ),
    ]);
    await channel.deleteQueue('shop.points');
    await connection.close();
  }, 60_000);

  test('that accepts no message of 64 KiB is named', async () => {
    await broker.ctl('eval', 'application:set_env(rabbit, max_message_size, 30000).');
    expect(await check(broker.amqpUrl)).toEqual([expect.stringMatching(/raise max_message_size to 131072$/)]);
    await broker.ctl('eval', 'application:set_env(rabbit, max_message_size, 134217728).');
    expect([await named('queues'), await named('exchanges')]).toEqual([[], []]);
  }, 60_000);
});
