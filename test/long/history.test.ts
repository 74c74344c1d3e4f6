// The history of an order while services fail: a handler that fails twice and then succeeds, a dead message, a service
// that is down or hangs, replicas, and messages that are no longer stored. Each service is a process of its own.
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import { run as sluice } from '../../cli/program.ts';
import type { OrderHistory } from '../../contracts/history.ts';
import { serviceNames } from '../../contracts/services.ts';
import type { AuditReport } from '../../demos/shared/auditor/report.ts';
import { query } from '../fault/support/sql.ts';
import { onServers, type System } from '../service/support/systems.ts';
import { call, completed, freshUser, get, placeOrder, postJson, readOrder } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';

const servers = inject('servers');
const shape = onServers('a process for each service, and two for points', servers, [
  ...serviceNames.map((name) => [name]),
  ['points'],
]);

const ATTEMPTS = 3;
const env = {
  RETRY_ATTEMPTS: String(ATTEMPTS),
  RETRY_BASE_MS: '20',
  RETRY_MAX_MS: '20',
  RESEND_AFTER_MS: '600000',
};

/** Points fails for users `doomed-…` always, and for users `shaky-…` in the first two attempts: a sequence counts on. */
const BREAK = `
  CREATE SEQUENCE sluice_points.shaky;
  CREATE FUNCTION sluice_points.reject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.user_id LIKE 'doomed-%' THEN RAISE EXCEPTION 'the ledger is full'; END IF;
    IF NEW.user_id LIKE 'shaky-%' AND nextval('sluice_points.shaky') % 3 <> 0 THEN
      RAISE EXCEPTION 'the ledger is busy';
    END IF;
    RETURN NEW;
  END $$;
  CREATE TRIGGER reject BEFORE INSERT ON sluice_points.entries FOR EACH ROW EXECUTE FUNCTION sluice_points.reject();`;

/** The collector waits a second for the other services; a busy machine adds to that. */
const RESPONSE_WITHIN_MS = 3_000;

describe.skipIf(!shape.available)('the history of an order', () => {
  let system: System;
  let orders: string;
  beforeAll(async () => {
    system = await shape.start(env);
    orders = system.url('order');
    await query(String(system.databaseUrl), BREAK);
  });
  afterAll(() => system?.remove());

  const historyOf = (id: string) => get(`${orders}/orders/${id}/history`, schemas.orderHistory);
  const outcomes = ({ items }: OrderHistory, of: string, type: string) =>
    items
      .filter((item) => item.service === of && item.type === type && /^(retried|dead|handled)$/.test(item.kind))
      .map(({ kind, attempt, detail }) => [kind, attempt, detail].filter((each) => each !== undefined));

  test('has each failed attempt of a handler that fails twice and then succeeds', async () => {
    const { id } = await placeOrder(orders, `shaky-${freshUser()}`);
    await completed(orders, id);
    const history = await historyOf(id);
    expect(history).toMatchObject({ missing: [], pruned: [], truncated: false });
    expect(outcomes(history, 'points', 'order.placed')).toEqual([
      ['retried', 1, 'the ledger is busy'],
      ['retried', 2, 'the ledger is busy'],
      ['handled', 3],
    ]);
    expect(outcomes(history, 'coupon', 'order.placed')).toEqual([['handled', 1]]);
    expect(outcomes(history, 'order', 'points.awarded')).toEqual([['handled', 1]]);
  });

  test('has a dead message, its report, and what an operator did about it', async () => {
    const { id } = await placeOrder(orders, `doomed-${freshUser()}`);
    await eventually(async () => (await readOrder(orders, id)).steps.points.status === 'failed', {
      what: 'the step has failed',
    });
    const history = await historyOf(id);
    const failed = [...Array(ATTEMPTS - 1).keys()].map((index) => ['retried', index + 1, 'the ledger is full']);
    expect(outcomes(history, 'points', 'order.placed')).toEqual([...failed, ['dead', ATTEMPTS, 'the ledger is full']]);
    const report = history.items.find(({ kind, type }) => kind === 'written' && type === 'step.failed');
    expect(report).toMatchObject({ service: 'points', eventId: expect.any(String) });
    expect(outcomes(history, 'order', 'step.failed')).toEqual([['handled', 1]]);
    expect(history.items).toContainEqual(expect.objectContaining({ kind: 'step', detail: 'points failed' }));

    const { databaseUrl } = system;
    await query(String(databaseUrl), 'ALTER TABLE sluice_points.entries DISABLE TRIGGER reject');
    onTestFinished(async () => {
      await query(String(databaseUrl), 'ALTER TABLE sluice_points.entries ENABLE TRIGGER reject');
    });
    await call(`${system.url('points')}/failed-messages/points/retry`, { method: 'POST' });
    await completed(orders, id);
    expect(outcomes(await historyOf(id), 'points', 'order.placed').slice(-2)).toEqual([
      ['dead', ATTEMPTS, 'the ledger is full'],
      ['handled', 1],
    ]);
  });

  test('has that and why an operator discarded a dead message', async () => {
    const { id } = await placeOrder(orders, `doomed-${freshUser()}`);
    const dead = await eventually(
      async () => (await historyOf(id)).items.find(({ service, kind }) => service === 'points' && kind === 'dead'),
      { what: 'the message is dead' },
    );
    const url = `${system.url('points')}/failed-messages/points/${dead.eventId}/discard`;
    expect((await postJson(url, { reason: 'only a test' })).status).toBe(200);
    const items = (await historyOf(id)).items.filter(
      ({ eventId, service }) => eventId === dead.eventId && service === 'points',
    );
    expect(items.at(-1)).toMatchObject({ kind: 'discarded', type: 'order.placed', detail: 'only a test' });
    expect(items.filter(({ kind }) => kind === 'dead')).toHaveLength(1);

    // Under a new id, the request would be handled after all.
    const others = serviceNames.flatMap((name) => ['--at', `${name}=${system.url(name)}`]);
    const output = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    onTestFinished(() => output.mockRestore());
    const repaired = async () => {
      output.mockClear();
      await sluice(['audit', '--url', orders, ...others, '--settle', '1s', '--repair', '--json']);
      return (JSON.parse(output.mock.calls.map(([text]) => String(text)).join('')) as AuditReport).repaired;
    };
    const found = await eventually(
      async () => {
        const its = await repaired();
        expect(its?.resent).toBe(0);
        return its?.discarded === 1 && its;
      },
      { what: 'the order is overdue', timeoutMs: 20_000 },
    );
    expect(found).toMatchObject({ resent: 0, discarded: 1 });
  });

  test('has the reversals of a cancelled order', async () => {
    const { id } = await placeOrder(orders, freshUser());
    await completed(orders, id);
    const body = JSON.stringify({ reason: 'changed my mind' });
    await call(`${orders}/orders/${id}/cancel`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    const isReverted = ({ status }: { readonly status: string }) => status === 'reverted';
    await eventually(async () => Object.values((await readOrder(orders, id)).steps).every(isReverted), {
      what: 'the steps are reverted',
    });
    const history = await historyOf(id);
    const written = history.items.filter(({ kind }) => kind === 'written');
    expect(written).toContainEqual(expect.objectContaining({ type: 'order.cancelled', detail: 'changed my mind' }));
    expect(written.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['order.placed', 'points.awarded', 'points.revoked', 'coupon.issued', 'coupon.revoked']),
    );
    expect(outcomes(history, 'notify', 'order.cancelled')).toEqual([['handled', 1]]);
  });

  test('is read from the other replica while one is killed, and names a service of which none responds', async () => {
    const { id } = await placeOrder(orders, freshUser());
    await completed(orders, id);
    const [first, second] = system.processes('points');
    const [coupon] = system.processes('coupon');
    await first?.kill();
    onTestFinished(async () => {
      await first?.start();
    });
    const withOne = await historyOf(id);
    expect(withOne.missing).toEqual([]);
    expect(outcomes(withOne, 'points', 'order.placed')).toEqual([['handled', 1]]);

    second?.freeze(true); // it accepts connections and does not respond
    onTestFinished(() => second?.freeze(false));
    await coupon?.kill();
    onTestFinished(async () => {
      await coupon?.start();
    });
    const startedAt = performance.now();
    const history = await historyOf(id);
    expect(performance.now() - startedAt).toBeLessThan(RESPONSE_WITHIN_MS);
    expect(history.missing).toEqual([
      { service: 'points', reason: expect.stringMatching(/no response within 1000 ms/) },
      { service: 'coupon', reason: expect.stringContaining('ECONNREFUSED') },
    ]);
    expect(outcomes(history, 'notify', 'order.placed')).toEqual([['handled', 1]]);
    // The order service knows the results from its own rows.
    expect(history.items).toContainEqual(expect.objectContaining({ kind: 'step', detail: 'points done: 59 points' }));
  });

  test('says what is no longer stored', async () => {
    const { id } = await placeOrder(orders, freshUser());
    await completed(orders, id);
    const old = "interval '8 days'";
    await query(
      String(system.databaseUrl),
      `UPDATE sluice_order.orders SET created_at = created_at - ${old} WHERE id = '${id}';
       DELETE FROM sluice_points.inbox WHERE message_id =
         (SELECT placed_event_id FROM sluice_order.orders WHERE id = '${id}')`,
    );
    const { pruned, items } = await historyOf(id);
    expect(pruned).toEqual([{ service: 'points', before: expect.stringMatching(/Z$/) }]);
    expect(items).toContainEqual(expect.objectContaining({ kind: 'written', service: 'points', detail: '59 points' }));
  });

  test('is a table of at most 80 columns in the terminal', async () => {
    const { id } = await placeOrder(orders, `shaky-${freshUser()}`);
    await completed(orders, id);
    let out = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      out += String(chunk);
      return true;
    });
    onTestFinished(() => void vi.restoreAllMocks());
    expect(await sluice(['history', id, '--url', orders])).toBe(0);
    const lines = out.trimEnd().split('\n');
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines[0]).toBe(`order ${id}`);
    expect(out).toMatch(/ {2}0 {2}order +accepted over HTTP$/m);
    expect(out).toMatch(/points +order\.placed, attempt 2, failed after /);
    expect(out).toMatch(/points +handled order\.placed in attempt 3 after /);
    out = '';
    expect(await sluice(['history', id, '--url', orders, '--json'])).toBe(0);
    expect(schemas.orderHistory.parse(JSON.parse(out)).orderId).toBe(id);
    vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    expect(await sluice(['history', '01993a5e-0000-7000-8000-000000000000', '--url', orders])).toBe(1);
    expect(await sluice(['history', 'ann', '--url', orders])).toBe(2);
  });
});
