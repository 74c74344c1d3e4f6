// The watchdog of a subscription whose backlog makes no progress.
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, test } from 'vitest';
import type { Subscription } from '../../infra/bus/port.ts';
import { Watchdog } from '../../infra/messaging/watchdog.ts';
import { failingWork } from '../../infra/runtime/failure-streak.ts';
import type { Health } from '../../infra/runtime/health.ts';
import { log } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { database, group } from '../setup/group.ts';
import type { GroupConsumer } from '../setup/group-consumer.ts';
import { join } from '../setup/member.ts';
import { placed } from '../setup/outgoing-events.ts';
import { eventually } from '../setup/wait.ts';

describe('a subscription under a watchdog', () => {
  /** Watches a subscription whose backlog makes no progress. */
  function watch(member: GroupConsumer, stallMs = 90) {
    let rebuilds = 0;
    const state: { backlog: number | undefined; health: Health } = { backlog: 5, health: { status: 'up' } };
    const subscription: Subscription = {
      health: () => state.health,
      backlog: async () => state.backlog,
      rebuild: async () => void rebuilds++,
      close: async () => {},
    };
    const watchdog = new Watchdog({
      inbox: member.inbox,
      subscription,
      stallMs,
      log,
    });
    watchdog.start();
    cleanUps.push(() => watchdog.stop());
    return { watchdog, state, rebuilds: () => rebuilds };
  }

  test('is rebuilt if its backlog makes no progress, and is unhealthy if that does not help', async () => {
    const { watchdog, state, rebuilds } = watch(await join());
    await eventually(() => rebuilds() === 1, { what: 'the subscription is rebuilt' });
    expect([watchdog.healthy, watchdog.backlog]).toEqual([true, 5]);
    await eventually(() => !watchdog.healthy, { what: 'the watchdog is unhealthy' });
    expect(rebuilds()).toBe(4);
    state.backlog = 0;
    await eventually(() => watchdog.healthy, { what: 'the watchdog is healthy again' });
  });

  /** Longer than four rebuilds take. */
  const untilSilent = async (watchdog: Watchdog) => {
    const until = performance.now() + 1_000;
    await eventually(() => performance.now() > until, { what: 'ten times the limit has passed' });
    return watchdog.healthy;
  };

  test('is not rebuilt while the broker rejects it, because a restart would not help either', async () => {
    const { watchdog, state, rebuilds } = watch(await join());
    state.health = { status: 'down', detail: 'no channel to the broker' };
    const before = rebuilds();
    expect(await untilSilent(watchdog)).toBe(true);
    expect(rebuilds()).toBe(before);
    state.health = { status: 'up' };
    await eventually(() => rebuilds() > before, { what: 'it is rebuilt once it is subscribed' });
  });

  test('is not rebuilt while the database rejects its messages, which shows as degraded', async () => {
    const member = await join();
    await database.execute(`ALTER TABLE ${group.schema}.inbox RENAME COLUMN body TO hidden`);
    const { watchdog, rebuilds } = watch(member);
    await eventually(() => member.inbox.rejectedWithin(90), { what: 'the inbox cannot claim rows' });
    const before = rebuilds();
    expect(await untilSilent(watchdog)).toBe(true);
    expect(rebuilds()).toBe(before);
    await eventually(() => failingWork().some(({ name }) => name === 'inbox'), { what: 'the inbox is degraded' });
    await database.execute(`ALTER TABLE ${group.schema}.inbox RENAME COLUMN hidden TO body`);
    await eventually(() => failingWork().length === 0, { what: 'the inbox works again' });
  });

  test('is rebuilt if it falls silent after the database rejected a batch', async () => {
    const member = await join();
    const receive = () => member.inbox.process([{ body: placed(uuidv7()) }]);
    await database.execute(`ALTER TABLE ${group.schema}.inbox RENAME TO hidden`);
    await expect(receive()).rejects.toThrow('does not exist');
    await database.execute(`ALTER TABLE ${group.schema}.hidden RENAME TO inbox`);
    const { rebuilds } = watch(member);
    await eventually(() => rebuilds() > 0, { what: 'the subscription is rebuilt' });
    await receive(); // ends the failures
  });

  test('does not count rows that another process has claimed', async () => {
    await database.execute(
      `INSERT INTO ${group.schema}.inbox (message_id, type, status, claimed_until)
       VALUES ($1, 'order.placed', 'pending', now() + interval '1 minute')`,
      [uuidv7()],
    );
    const { watchdog, state, rebuilds } = watch(await join());
    state.backlog = 0;
    await eventually(() => watchdog.backlog === 0, { what: 'the backlog is known' });
    expect(rebuilds()).toBe(0);
  });

  test('its backlog is unknown while the broker cannot count it, even if it was known before', async () => {
    const { watchdog, state, rebuilds } = watch(await join(), 3_000);
    expect(watchdog.backlog).toBe(null);
    await eventually(() => watchdog.backlog === 5, { what: 'the backlog is known' });
    state.backlog = undefined;
    await eventually(() => watchdog.backlog === null, { what: 'the backlog is unknown' });
    state.backlog = 0;
    await eventually(() => watchdog.backlog === 0, { what: 'the backlog is known again' });
    await watchdog.stop();
    expect([watchdog.backlog, rebuilds()]).toEqual([null, 0]);
  });

  test('is not rebuilt while it makes progress, however large its backlog', async () => {
    const member = await join();
    const { watchdog, rebuilds } = watch(member, 1_000);
    const until = performance.now() + 3_000;
    await eventually(
      async () => {
        await member.inbox.process([{ body: placed(uuidv7()) }]);
        return performance.now() > until;
      },
      { what: 'three times the limit has passed' },
    );
    expect(watchdog.backlog).toBeGreaterThanOrEqual(5);
    expect(rebuilds()).toBe(0);
  });
});
