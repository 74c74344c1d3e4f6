// Unreadable messages become dead with a reason and delay no others.
import { randomUUID } from 'node:crypto';
import { expect, inject, test } from 'vitest';
import { get } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';
import { openBroker } from './support/broker.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule } from './support/schedule.ts';
import { count } from './support/sql.ts';
import { eitherRoles, faultWith, startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');

/** An event as the points service receives it. */
const placedEvent = (changes: object = {}) => {
  const orderId = randomUUID();
  return {
    specversion: '1.0',
    id: randomUUID(),
    source: '/services/order',
    type: 'order.placed',
    subject: orderId,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data: { orderId, userId: 'mallory', currency: 'GBP', total: 100, itemCount: 1 },
    ...changes,
  };
};

test.each(eitherRoles)(
  'an unreadable message becomes dead with a reason and delays no others, roles %s',
  async (roles) => {
    const schedule = newSchedule();
    const { process, databaseUrl, prefix } = await startSystem({
      roles,
      postgresUrl: servers.databaseUrl,
      mqttUrl: servers.mosquittoUrl,
      amqpUrl: servers.amqpUrl,
    });
    const broker = await openBroker(servers.amqpUrl ?? '', prefix);
    const load = new Load({ urls: [process('order').url], schedule });
    await load.morePlaced(20);
    const poison: Record<string, string | Buffer> = {
      'not JSON': '{"specversion":',
      'not UTF-8': Buffer.from([0xff, 0xfe, 0x00, 0x01]),
      'an empty body': '',
      'not an event': '[1, 2, 3]',
      'a wrong schema': JSON.stringify(placedEvent({ data: { orderId: 7 } })),
      'an unknown type': JSON.stringify(placedEvent({ type: 'order.exploded' })),
      "another service's type": JSON.stringify(
        placedEvent({ type: 'points.awarded', data: { orderId: randomUUID(), userId: 'mallory', points: 1_000_000 } }),
      ),
      'no id': JSON.stringify(placedEvent({ id: undefined })),
      'a body of 1 MB': JSON.stringify(placedEvent({ data: { text: 'x'.repeat(1024 * 1024) } })),
      'a NUL': JSON.stringify(placedEvent({ data: { orderId: randomUUID(), userId: '\u0000' } })),
    };
    await broker.send('points', schedule.shuffled(Object.values(poison)));
    // A second delivery adds no rows.
    await broker.send('points', schedule.shuffled(Object.values(poison)));
    const dead = () => count(databaseUrl, `sluice_points.inbox WHERE status = 'dead'`);
    const amount = Object.keys(poison).length;
    await eventually(async () => (await dead()) === amount, { what: 'all unreadable messages are dead' });
    await load.morePlaced(20);

    const list = `${process('points').url}/failed-messages/points?status=dead`;
    const { items } = await get(list, schemas.failedMessagesPage);
    expect(items).toHaveLength(amount);
    for (const { error } of items) expect(error).toMatch(/^unreadable: |is not for this service$/);

    const over = performance.now();
    const fault = faultWith(roles, `${amount} unreadable messages, twice`);
    const verdict = await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
    expect(verdict.failed.filter(({ service }) => service === 'points')).toHaveLength(amount);
  },
);
