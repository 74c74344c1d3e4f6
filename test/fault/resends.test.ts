// Resending when many orders are overdue at once, by two processes on one database: no more events per second than
// stated, none twice for one due time, and with a delay that doubles up to an hour.
import { expect, inject, test } from 'vitest';
import { readMetrics } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';
import { reportFault } from './support/report.ts';
import { query } from './support/sql.ts';
import { startSystem } from './support/system.ts';

const ORDERS = 1_000;
const RESEND_AFTER_MS = 500;
const HOUR_MS = 3_600_000;
/** Events of one type by one process: 100 in a sweep, and a sweep every 500 ms at most. */
const PER_SECOND = 200;
const PROCESSES = 2;
/** Contains at most two sweeps of a process. A little less than a second, because clocks differ. */
const WINDOW_MS = 990;
const servers = inject('servers');

const types = ['order.placed', 'order.cancelled'] as const;

/** An event as it was written to the outbox. */
interface Resent {
  readonly type: (typeof types)[number];
  readonly subject: string;
  /** When its transaction began and when it was written, in ms. */
  readonly began: number;
  readonly written: number;
}

test('two processes resend the events of thousands of overdue orders at a bounded rate', async () => {
  const { processes, databaseUrl } = await startSystem({
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    processes: [['order'], ['order']],
    amqpUrl: servers.amqpUrl,
    env: { RESEND_AFTER_MS: String(RESEND_AFTER_MS) },
  });
  // A trigger records every event. No reply comes, because no other service runs. A sweep takes long, so that those of
  // the two processes overlap.
  await query(
    databaseUrl,
    `CREATE TABLE resent (type text, subject text, began timestamptz, written timestamptz);
     CREATE FUNCTION record_resent() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO public.resent VALUES (NEW.type, NEW.subject, now(), clock_timestamp());
       RETURN NEW;
     END $$;
     CREATE TRIGGER record_resent BEFORE INSERT ON sluice_order.outbox FOR EACH ROW EXECUTE FUNCTION record_resent();
     CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(random() * 0.8); RETURN NULL; END $$;
     CREATE TRIGGER take_a_while AFTER INSERT ON sluice_order.outbox FOR EACH STATEMENT EXECUTE FUNCTION take_a_while()`,
  );
  // A thousand orders of each kind: half without a resend so far, the others with up to 30.
  const resendsOf = (order: string) => `CASE WHEN ${order} % 2 = 0 THEN 0 ELSE (${order} / 2) % 31 END`;
  await query(
    databaseUrl,
    `CREATE TABLE made AS SELECT gen_random_uuid() AS id, n, n > ${ORDERS} AS cancelled
       FROM generate_series(1, ${2 * ORDERS}) AS n;
     INSERT INTO sluice_order.orders (id, user_id, currency, total, items, placed_event_id)
       SELECT id, 'user-' || n, 'GBP', 5900, '[{"sku":"lamp","quantity":1,"unitPrice":5900}]', gen_random_uuid() FROM made;
     INSERT INTO sluice_order.progress (order_id, resends, resend_at, state, cancelled_at, cancelled_event_id)
       SELECT id, ${resendsOf('n')}, now(), CASE WHEN cancelled THEN 'cancelled' ELSE 'confirmed' END,
         CASE WHEN cancelled THEN now() END, CASE WHEN cancelled THEN gen_random_uuid() END FROM made;`,
  );
  const startedAt = performance.now();
  const ordersResent = () =>
    query<{ orders: number }>(databaseUrl, 'SELECT count(DISTINCT subject)::int AS orders FROM resent');
  await eventually(async () => (await ordersResent())[0]?.orders === 2 * ORDERS, {
    what: 'an event of every order is resent',
    timeoutMs: 60_000,
  });
  const recoveryMs = performance.now() - startedAt;
  const often = `SELECT 1 FROM resent GROUP BY subject HAVING count(*) >= 3 LIMIT 1`;
  await eventually(async () => (await query(databaseUrl, often)).length > 0, {
    what: 'some are resent a third time',
    timeoutMs: 60_000,
  });
  // The processes keep resending, so the test judges a snapshot.
  await query(
    databaseUrl,
    `BEGIN ISOLATION LEVEL REPEATABLE READ;
     CREATE TABLE log AS SELECT * FROM resent;
     CREATE TABLE state AS SELECT p.*, ${resendsOf('n')} AS resends_at_first FROM sluice_order.progress p JOIN made ON id = order_id;
     COMMIT`,
  );

  const log = await query<Resent>(
    databaseUrl,
    `SELECT type, subject, (extract(epoch FROM began) * 1000)::float8 AS began,
       (extract(epoch FROM written) * 1000)::float8 AS written FROM log ORDER BY written`,
  );
  for (const type of types) {
    const times = log.filter((event) => event.type === type).map(({ written }) => written);
    expect(mostWithin(times, WINDOW_MS), type).toBeLessThanOrEqual(PROCESSES * PER_SECOND);
  }

  const bySubject = new Map<string, number[]>();
  for (const { subject, began } of log) bySubject.set(subject, [...(bySubject.get(subject) ?? []), began]);
  const state = await query<{ id: string; resends: number; first: number; due: number }>(
    databaseUrl,
    `SELECT order_id AS id, resends, resends_at_first AS first, (extract(epoch FROM resend_at) * 1000)::float8 AS due FROM state`,
  );
  let tooSoon = 0;
  let stopped = 0;
  for (const { id, resends, first, due } of state) {
    const times = (bySubject.get(id) ?? []).sort((a, b) => a - b);
    // Each resend is counted: two for one due time would be one too many.
    expect(times.length, `order ${id}`).toBe(resends - first);
    for (const [index, began] of times.entries()) {
      const delay = Math.min(RESEND_AFTER_MS * 2 ** (first + index + 1), HOUR_MS);
      if (delay === HOUR_MS) stopped++;
      const next = times[index + 1];
      if (next !== undefined && next < began + delay) tooSoon++;
      if (next === undefined) expect(due - began, `the next time after ${first + index + 1}`).toBeCloseTo(delay, 0);
    }
  }
  expect(tooSoon, 'resent before it was due').toBe(0);
  expect(stopped).toBeGreaterThan(ORDERS / 4);

  // Both processes resent events, and report it.
  const reported = await Promise.all(processes.map(({ workerUrl }) => reportedOf(workerUrl)));
  for (const [index, each] of reported.entries()) {
    for (const type of types) expect(each.get(type), `${type} by process ${index}`).toBeGreaterThan(0);
    expect(await processes[index]?.output()).toContain('resent: the replies are overdue');
  }
  reportFault({
    fault: `${2 * ORDERS} orders overdue at once, two processes`,
    rounds: 1,
    orders: 2 * ORDERS,
    lost: 2 * ORDERS - bySubject.size,
    duplicated: tooSoon,
    recoveryMs,
  });
});

/** The largest number of these ascending times in any interval of `ms`. */
function mostWithin(times: readonly number[], ms: number): number {
  let most = 0;
  let first = 0;
  for (const [last, time] of times.entries()) {
    while (time - (times[first] ?? 0) >= ms) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** The resends that a process reports, by event type. */
async function reportedOf(url: string): Promise<Map<string, number>> {
  const counted = (await readMetrics(url)).matchAll(/^sluice_resent_total\{type="([^"]+)"\} (\d+)$/gm);
  return new Map([...counted].map(([, type, value]) => [String(type), Number(value)]));
}
