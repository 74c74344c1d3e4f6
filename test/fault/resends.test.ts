// Asking again where a great deal is overdue at once, for two processes on one database: no more questions a second than
// stated, none twice for one due time, and each time after twice as long, up to an hour.
import { request } from 'undici';
import { expect, inject, test } from 'vitest';
import { eventually } from '../setup/wait.ts';
import { reportFault } from './support/report.ts';
import { query } from './support/sql.ts';
import { startSystem } from './support/system.ts';

const ORDERS = 1_000;
const RESEND_AFTER_MS = 500;
const HOUR_MS = 3_600_000;
/** Of each kind of question, by one process: 100 in a sweep, and a sweep every 500 ms at the most. */
const PER_SECOND = 200;
const PROCESSES = 2;
/** Within this at most two sweeps of a process can be: it is a little less than a second, for the clocks' sake. */
const WINDOW_MS = 990;
const servers = inject('servers');

const questions = ['order.placed', 'order.cancelled'] as const;

/** One question as it was put into the outbox. */
interface Asked {
  readonly type: (typeof questions)[number];
  readonly subject: string;
  /** When its transaction began and when it was written, in ms. */
  readonly began: number;
  readonly written: number;
}

test('thousands of orders that are overdue at once are asked for at a bounded pace, by two processes', async () => {
  const { processes, databaseUrl } = await startSystem({
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    processes: [['order'], ['order']],
    amqpUrl: servers.amqpUrl,
    env: { RESEND_AFTER_MS: String(RESEND_AFTER_MS) },
  });
  // Every question is written down. None is answered, because nobody else runs. And a sweep takes a while, so that those
  // of the two processes meet.
  await query(
    databaseUrl,
    `CREATE TABLE asked (type text, subject text, began timestamptz, written timestamptz);
     CREATE FUNCTION note_asked() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO public.asked VALUES (NEW.type, NEW.subject, now(), clock_timestamp());
       RETURN NEW;
     END $$;
     CREATE TRIGGER note_asked BEFORE INSERT ON sluice_order.outbox FOR EACH ROW EXECUTE FUNCTION note_asked();
     CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(random() * 0.8); RETURN NULL; END $$;
     CREATE TRIGGER take_a_while AFTER INSERT ON sluice_order.outbox FOR EACH STATEMENT EXECUTE FUNCTION take_a_while()`,
  );
  // Of each kind a thousand, half of them never asked for yet, the others up to 30 times already.
  const asked = (order: string) => `CASE WHEN ${order} % 2 = 0 THEN 0 ELSE (${order} / 2) % 31 END`;
  await query(
    databaseUrl,
    `CREATE TABLE made AS SELECT gen_random_uuid() AS id, n, n > ${ORDERS} AS cancelled
       FROM generate_series(1, ${2 * ORDERS}) AS n;
     INSERT INTO sluice_order.orders (id, user_id, currency, total, items, placed_event_id)
       SELECT id, 'user-' || n, 'GBP', 5900, '[{"sku":"lamp","quantity":1,"unitPrice":5900}]', gen_random_uuid() FROM made;
     INSERT INTO sluice_order.progress (order_id, asked, ask_again_at, state, cancelled_at, cancelled_event_id)
       SELECT id, ${asked('n')}, now(), CASE WHEN cancelled THEN 'cancelled' ELSE 'confirmed' END,
         CASE WHEN cancelled THEN now() END, CASE WHEN cancelled THEN gen_random_uuid() END FROM made;`,
  );
  const startedAt = performance.now();
  const everyoneAsked = () =>
    query<{ orders: number }>(databaseUrl, 'SELECT count(DISTINCT subject)::int AS orders FROM asked');
  await eventually(async () => (await everyoneAsked())[0]?.orders === 2 * ORDERS, {
    what: 'every order is asked for',
    timeoutMs: 60_000,
  });
  const recoveryMs = performance.now() - startedAt;
  const often = `SELECT 1 FROM asked GROUP BY subject HAVING count(*) >= 3 LIMIT 1`;
  await eventually(async () => (await query(databaseUrl, often)).length > 0, {
    what: 'some are asked for a third time',
    timeoutMs: 60_000,
  });
  // Those that run on ask on: what is judged is what stands there at one moment.
  await query(
    databaseUrl,
    `BEGIN ISOLATION LEVEL REPEATABLE READ;
     CREATE TABLE log AS SELECT * FROM asked;
     CREATE TABLE state AS SELECT p.*, ${asked('n')} AS asked_at_first FROM sluice_order.progress p JOIN made ON id = order_id;
     COMMIT`,
  );

  const log = await query<Asked>(
    databaseUrl,
    `SELECT type, subject, (extract(epoch FROM began) * 1000)::float8 AS began,
       (extract(epoch FROM written) * 1000)::float8 AS written FROM log ORDER BY written`,
  );
  for (const question of questions) {
    const times = log.filter(({ type }) => type === question).map(({ written }) => written);
    expect(mostWithin(times, WINDOW_MS), question).toBeLessThanOrEqual(PROCESSES * PER_SECOND);
  }

  const bySubject = new Map<string, number[]>();
  for (const { subject, began } of log) bySubject.set(subject, [...(bySubject.get(subject) ?? []), began]);
  const state = await query<{ id: string; asked: number; asked_at_first: number; due: number }>(
    databaseUrl,
    `SELECT order_id AS id, asked, asked_at_first, (extract(epoch FROM ask_again_at) * 1000)::float8 AS due FROM state`,
  );
  let tooSoon = 0;
  let stopped = 0;
  for (const { id, asked, asked_at_first: first, due } of state) {
    const times = (bySubject.get(id) ?? []).sort((a, b) => a - b);
    // Counted as often as it was asked: two for one due time would be one too many.
    expect(times.length, `order ${id}`).toBe(asked - first);
    for (const [index, began] of times.entries()) {
      const delay = Math.min(RESEND_AFTER_MS * 2 ** (first + index + 1), HOUR_MS);
      if (delay === HOUR_MS) stopped++;
      const next = times[index + 1];
      if (next !== undefined && next < began + delay) tooSoon++;
      if (next === undefined) expect(due - began, `the next time after ${first + index + 1}`).toBeCloseTo(delay, 0);
    }
  }
  expect(tooSoon, 'asked again before it was due').toBe(0);
  expect(stopped).toBeGreaterThan(ORDERS / 4);

  // Both asked, and say so.
  const said = await Promise.all(processes.map(({ url }) => saidOf(url)));
  for (const [index, each] of said.entries()) {
    for (const question of questions) expect(each.get(question), `${question} by process ${index}`).toBeGreaterThan(0);
    expect(await processes[index]?.output()).toContain('asked again: the answers are overdue');
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

/** The most of these ascending times that lie within any stretch of `ms`. */
function mostWithin(times: readonly number[], ms: number): number {
  let most = 0;
  let first = 0;
  for (const [last, time] of times.entries()) {
    while (time - (times[first] ?? 0) >= ms) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** How often a process says that it asked again, by question. */
async function saidOf(url: string): Promise<Map<string, number>> {
  const { body } = await request(`${url}/metrics`);
  const counted = (await body.text()).matchAll(/^sluice_resent_total\{type="([^"]+)"\} (\d+)$/gm);
  return new Map([...counted].map(([, type, value]) => [String(type), Number(value)]));
}
