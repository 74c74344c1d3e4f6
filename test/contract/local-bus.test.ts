// What only the local bus does: events are processed while they are published, unless that may take long or has failed
// before.
import { v7 as uuidv7 } from 'uuid';
import { expect, test, vi } from 'vitest';
import { eventSchemas } from '../../contracts/events.ts';
import { LocalBus } from '../../infra/bus/local.ts';
import type { IncomingMessage } from '../../infra/bus/port.ts';
import { DatabaseUnavailable, Overloaded } from '../../infra/database/port.ts';
import { InboxStore } from '../../infra/messaging/inbox-store.ts';
import { NEW_EVENTS, type Outbox } from '../../infra/messaging/outbox.ts';
import { publishToBus, type RelayOptions } from '../../infra/messaging/relay.ts';
import { deferred } from '../../infra/runtime/promises.ts';
import { log } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { database, group } from '../setup/group.ts';
import { GroupConsumer, type GroupConsumerOptions } from '../setup/group-consumer.ts';
import { orderPlaced } from '../setup/outgoing-events.ts';
import { receiverWith } from '../setup/receiver.ts';
import { startRelay } from '../setup/relay.ts';
import { eventually } from '../setup/wait.ts';

const topology = { prefix: 'test', groups: { points: ['order.placed'] } };

function openBus(): LocalBus {
  const bus = new LocalBus({ database, topology, inboxOf: () => new InboxStore(group.schema) });
  cleanUps.push(() => bus.close());
  return bus;
}

async function join(bus: LocalBus, options: GroupConsumerOptions): Promise<GroupConsumer> {
  const process = { bus, database, sever() {}, crash: async () => {}, close: async () => {} };
  const consumer = await GroupConsumer.join(process, topology, group, options);
  cleanUps.push(() => consumer.close());
  return consumer;
}

const orderData = () => ({ orderId: uuidv7(), userId: 'alice', currency: 'GBP', total: 5999, itemCount: 1 });

const rows = () =>
  database.query<object>(
    `SELECT message_id AS id, status, attempts, body IS NULL AS "hasNoBody", claimed_until IS NOT NULL AS claimed
     FROM ${group.schema}.inbox ORDER BY 1`,
  );

test('a publish resolves once the events are processed, with one row written for each', async () => {
  const bus = openBus();
  await join(bus, {});
  const events = [orderPlaced(), orderPlaced()];
  expect(await bus.publish(events)).toEqual([]);
  const done = { status: 'done', attempts: 1, hasNoBody: true, claimed: false };
  expect(await rows()).toEqual(events.map(({ id }) => ({ id, ...done })));
});

test('a publish does not wait for a handler that takes long: the event is stored', async () => {
  const bus = openBus();
  const finished = deferred();
  await join(bus, { prepare: () => finished.promise });
  cleanUps.push(finished.resolve);
  const event = orderPlaced();
  expect(await bus.publish([event])).toEqual([]);
  expect(await rows()).toEqual([{ id: event.id, status: 'pending', attempts: 1, hasNoBody: false, claimed: true }]);
});

test('a failing event does not fail the publish: it is stored and retried', async () => {
  const bus = openBus();
  let failures = 1;
  await join(bus, {
    handle: () => {
      if (failures-- > 0) throw new Error('no luck');
    },
  });
  const event = orderPlaced();
  expect(await bus.publish([event])).toEqual([]);
  await eventually(async () => JSON.stringify(await rows()).includes('"done"'), { what: 'the event is retried' });
});

test.each([new DatabaseUnavailable('away'), new Overloaded(1)])(
  'an event that waits for the database at the stop is not rejected: %s',
  async (error) => {
    const bus = openBus();
    const waiting = deferred();
    const warn = vi.spyOn(log, 'warn').mockImplementation(() => waiting.resolve());
    cleanUps.push(() => warn.mockRestore());
    const consumer = await join(bus, {
      handle: () => {
        throw error;
      },
    });
    const event = orderPlaced();
    const publishing = bus.publish([event]);
    await waiting.promise;
    expect(warn).toHaveBeenCalledWith({ error: error.message }, 'waiting for the database');
    await consumer.close();
    expect(await publishing).toMatchObject([{ id: event.id, error: { code: 'unavailable', message: error.message } }]);
  },
);

test('an event whose first publish did not finish is stored before it is processed, so its attempts count', async () => {
  const bus = openBus();
  const calls: { readonly method: string; readonly ids: unknown[] }[] = [];
  const record = (method: string) => async (batch: readonly IncomingMessage[]) => {
    if (batch.length > 0) calls.push({ method, ids: batch.map(({ body }) => JSON.parse(body.toString()).id) });
  };
  const methods = { enqueue: record('enqueue'), processOrEnqueue: record('processOrEnqueue') };
  await bus.subscribe('points', receiverWith(methods));

  const toBus = { bus, catalogue: eventSchemas, source: '/services/order', onPublished: () => {} };
  const start = (publish: RelayOptions['publish'], leaseMs: number) =>
    startRelay({ database, schema: group.schema, publish, leaseMs });
  const write = async (outbox: Outbox) => {
    const data = orderData();
    const event = { id: uuidv7(), type: 'order.placed', subject: data.orderId, time: new Date(), data };
    await outbox.write(database, NEW_EVENTS, [event]);
    return event.id;
  };
  const ended = deferred();
  const dying = start(() => ended.promise.then(() => []), 300); // its process ends during the first publish
  cleanUps.push(ended.resolve);
  const interrupted = await write(dying.outbox);
  const { outbox } = start((batch) => publishToBus(toBus, batch), 60_000);
  await eventually(() => calls.length === 1, { what: 'the event is published again' });
  const first = await write(outbox);
  await eventually(() => calls.length === 2, { what: 'the other event is published' });
  expect(calls).toEqual([
    { method: 'enqueue', ids: [interrupted] },
    { method: 'processOrEnqueue', ids: [first] },
  ]);
});
