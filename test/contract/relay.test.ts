// The relay between an outbox and a transport that fails, rejects events, or belongs to a process that died.
// bus.test.ts tests it together with the buses.
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, test } from 'vitest';
import type { Database } from '../../infra/database/port.ts';
import { type Channel, defineStatement, Outbox, type OutboxRow } from '../../infra/messaging/outbox.ts';
import type { RelayOptions } from '../../infra/messaging/relay.ts';
import { deferred } from '../../infra/runtime/promises.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { database, group } from '../setup/group.ts';
import { startRelay as start } from '../setup/relay.ts';
import { eventually } from '../setup/wait.ts';

describe('the relay', () => {
  type Publish = RelayOptions['publish'];

  const startRelay = (publish: Publish, options: Partial<RelayOptions> = {}) =>
    start({ database, schema: group.schema, publish, ...options });

  /** Takes over every row. */
  function taking() {
    const taken: OutboxRow[] = [];
    const publish: Publish = async (rows) => {
      taken.push(...rows);
      return [];
    };
    return { taken, publish };
  }

  /** Writes events in a transaction; returns their ids. */
  async function write(outbox: Outbox, count: number, channel: Channel = 'bus'): Promise<string[]> {
    const ids = Array.from({ length: count }, () => uuidv7());
    await database.transaction((tx) => outbox.write(tx, { ...EVENTS, channel }, ids));
    return ids;
  }
  const EVENTS = defineStatement({
    events: `SELECT id AS event_id, 'points.awarded' AS type, 'subject' AS subject, now() AS time, '{}' AS data
      FROM unnest($1::uuid[]) AS id`,
    params: (ids: readonly string[]) => [ids],
  });

  const rows = () =>
    database.query<{ event_id: string; failures: number; error: string | null; claimed: boolean }>(
      `SELECT event_id, failures, error, claimed_until > now() AS claimed FROM ${group.schema}.outbox ORDER BY position`,
    );
  const isEmpty = () => eventually(async () => (await rows()).length === 0, { what: 'the outbox is empty' });
  const idsOf = (taken: readonly OutboxRow[]) => taken.map(({ event_id }) => event_id);

  test('publishes rows in the order they were written, and deletes them once they are confirmed', async () => {
    const confirmed = deferred();
    const { taken, publish } = taking();
    const { outbox } = startRelay(async (batch) => {
      await confirmed.promise;
      return publish(batch);
    });
    const ids = await write(outbox, 20);
    await write(outbox, 0);
    expect(await rows()).toHaveLength(20);
    confirmed.resolve();
    await isEmpty();
    expect(idsOf(taken)).toEqual(ids);
  });

  test('while rows come steadily, gathers them between two publishes', async () => {
    const publishedAt: number[] = [];
    const { taken, publish } = taking();
    const { relay } = startRelay((batch) => {
      publishedAt.push(performance.now());
      if (publishedAt.length === 1) relay.enqueue([{ ...row, position: -21 }]);
      return publish(batch);
    });
    const row = { event_id: uuidv7(), type: 'points.awarded', subject: 's', time: new Date(), data: '{}', failures: 0 };
    relay.enqueue(Array.from({ length: 20 }, (_, index) => ({ ...row, position: -1 - index })));
    await eventually(() => taken.length === 21, { what: 'all rows are published' });
    const [first = 0, second = 0] = publishedAt;
    expect(second - first).toBeGreaterThan(20);
  });

  test('never publishes an event that was rolled back', async () => {
    const { taken, publish } = taking();
    const { outbox } = startRelay(publish);
    const undone = database.transaction(async (tx) => {
      await outbox.write(tx, EVENTS, [uuidv7()]);
      throw new Error('rolled back');
    });
    await expect(undone).rejects.toThrow('rolled back');
    const ids = await write(outbox, 1);
    await isEmpty();
    expect(idsOf(taken)).toEqual(ids);
  });

  test('finds rows that were written while no relay ran', async () => {
    const ids = await write(new Outbox(group.schema), 1_200);
    const { taken, publish } = taking();
    startRelay(publish);
    await isEmpty();
    expect(idsOf(taken)).toEqual(ids);
  });

  test('publishes the same events again if a process dies before they are confirmed', async () => {
    const died = deferred();
    const seen: OutboxRow[] = [];
    const { outbox } = startRelay(
      async (batch) => {
        seen.push(...batch);
        await died.promise;
        return [];
      },
      { leaseMs: 300 },
    );
    cleanUps.push(died.resolve);
    await write(outbox, 3);
    await eventually(() => seen.length > 0, { what: 'the rows are being published' });
    const { taken, publish } = taking();
    startRelay(publish);
    await eventually(() => taken.length >= 3, { what: 'another process publishes the rows' });
    const same = ({ event_id, time, data }: OutboxRow) => ({ event_id, time, data });
    expect(taken.map(same)).toEqual(seen.map(same));
  });

  test('a rejected event waits by itself; the others in its batch and after it are published', async () => {
    const { taken, publish } = taking();
    let bad: string | undefined;
    const { outbox } = startRelay(async (batch) => {
      await publish(batch.filter(({ event_id }) => event_id !== bad));
      return batch
        .filter(({ event_id }) => event_id === bad)
        .map((row) => ({ row, error: 'invalid event', transportDown: false }));
    });
    const ids = Array.from({ length: 5 }, () => uuidv7());
    bad = ids[2];
    await database.transaction((tx) => outbox.write(tx, EVENTS, ids));
    const later = await write(outbox, 5);
    const good = [...ids.filter((id) => id !== bad), ...later];
    await eventually(() => taken.length >= good.length, { what: 'the others are published' });
    expect(idsOf(taken)).toEqual(good);
    const left = await eventually(
      async () => {
        const now = await rows();
        return now.length === 1 && now[0]?.failures === 1 && now;
      },
      { what: 'only the rejected row is left' },
    );
    expect(left).toMatchObject([{ event_id: bad, error: 'invalid event', claimed: true }]);
    bad = undefined;
    await isEmpty();
  });

  test('while the transport of one channel is down, its rows wait and the other channel is published', async () => {
    let down = true;
    let attempts = 0;
    const bus = taking();
    const user = taking();
    const { outbox } = startRelay(async (batch) => {
      attempts++;
      if (!down) return bus.publish(batch);
      return batch.map((row) => ({ row, error: 'no broker', transportDown: true }));
    });
    const other = startRelay(user.publish, { channel: 'user' });
    const ids = await write(outbox, 700);
    const notes = await write(other.outbox, 3, 'user');
    await eventually(() => attempts >= 2, { what: 'publishing is retried' });
    await eventually(() => user.taken.length >= 3, { what: 'the other channel is published' });
    expect(idsOf(user.taken)).toEqual(notes);
    expect(bus.taken).toEqual([]);
    // The pauses between attempts grow.
    expect(attempts).toBeLessThan(20);
    down = false;
    await isEmpty();
    expect(idsOf(bus.taken).sort()).toEqual(ids);
  });

  test('polls again if it is woken during a poll', async () => {
    const [polled, released] = [deferred(), deferred()];
    const { taken, publish } = taking();
    // The first result is held back, so it does not contain the rows written meanwhile.
    const delayed: Database = {
      ...database,
      query: async <Row extends object>(text: string, params?: readonly unknown[]) => {
        const found = await database.query<Row>(text, params);
        polled.resolve();
        await released.promise;
        return found;
      },
    };
    const { relay } = startRelay(publish, { pollMs: 600_000, database: delayed });
    await polled.promise;
    const ids = await write(new Outbox(group.schema), 3);
    relay.wake();
    released.resolve();
    await eventually(() => taken.length >= 3, { what: 'the rows are published before the next poll' });
    expect(idsOf(taken)).toEqual(ids);
  });

  test('retries a poll that failed, however long its poll interval', async () => {
    const { taken, publish } = taking();
    let polls = 0;
    const failingOnce: Database = {
      ...database,
      query: async <Row extends object>(text: string, params?: readonly unknown[]) => {
        if (++polls === 1) throw new Error('no poll');
        return database.query<Row>(text, params);
      },
    };
    const ids = await write(new Outbox(group.schema), 3);
    startRelay(publish, { pollMs: 600_000, database: failingOnce });
    await eventually(() => taken.length >= 3, { what: 'the rows are published before the next poll' });
    expect(idsOf(taken)).toEqual(ids);
  });

  test('two relays share an outbox and publish no row twice', async () => {
    const written = await write(new Outbox(group.schema), 2_000);
    const [one, other] = [taking(), taking()];
    const { outbox } = startRelay(one.publish);
    startRelay(other.publish);
    const handed = await write(outbox, 500);
    await isEmpty();
    expect([...idsOf(one.taken), ...idsOf(other.taken)].sort()).toEqual([...written, ...handed].sort());
  });

  test('releases the rows that it has not published as soon as it stops', async () => {
    const underWay = deferred();
    const first = taking();
    const { relay, outbox } = startRelay(async (batch) => {
      await underWay.promise;
      return first.publish(batch);
    });
    const one = await write(outbox, 1);
    await eventually(async () => (await rows())[0]?.claimed, { what: 'the first row is being published' });
    const rest = await write(outbox, 10);
    const stopping = relay.stop();
    underWay.resolve();
    await stopping;
    expect(idsOf(first.taken).slice(0, 1)).toEqual(one);
    expect((await rows()).filter(({ claimed }) => claimed)).toEqual([]);

    const next = taking();
    startRelay(next.publish);
    await isEmpty();
    expect([...idsOf(first.taken), ...idsOf(next.taken)]).toEqual([...one, ...rest]);
  });
});
