// Failed reversals: the cancelled order shows them, the audit names them, and a retry after the cause is removed
// completes them.
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import { run as sluice } from '../../cli/program.ts';
import { type StepName, stepNames } from '../../contracts/orders.ts';
import { serviceNames } from '../../contracts/services.ts';
import type { AuditReport } from '../../demos/shared/auditor/report.ts';
import { retryDead } from '../fault/support/service-process.ts';
import { query } from '../fault/support/sql.ts';
import { completed, freshUser, get, placeOrder, postJson, readOrder } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';
import { onServers, type System } from './support/systems.ts';

const servers = inject('servers');
const shape = onServers('one process on PostgreSQL', servers, [serviceNames], { bus: 'local' });

const reversals = [
  { step: 'points', service: 'points', table: 'sluice_points.entries', reverses: `NEW.kind = 'revoke'` },
  { step: 'coupon', service: 'coupon', table: 'sluice_coupon.decisions', reverses: 'NEW.revoked_at IS NOT NULL' },
  {
    step: 'notification',
    service: 'notify',
    table: 'sluice_notify.notifications',
    reverses: `NEW.kind = 'order.cancelled'`,
  },
] as const;

describe.skipIf(!shape.available)(shape.name, () => {
  let system: System;
  let url: string;
  let databaseUrl: string;
  beforeAll(async () => {
    system = await shape.start({ RETRY_ATTEMPTS: '1', RESEND_AFTER_MS: '300' });
    url = system.url('order');
    databaseUrl = String(system.databaseUrl);
    await query(
      databaseUrl,
      `CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION 'cannot reach 10.1.2.3'; END $$;`,
    );
  });
  afterAll(() => system?.remove());

  const read = (id: string) => readOrder(url, id);
  const stepIs = (id: string, step: StepName, status: string) =>
    eventually(
      async () => {
        const order = await read(id);
        return order.steps[step].status === status && order;
      },
      { what: `${step} is ${status}`, timeoutMs: 20_000 },
    );

  async function audit(): Promise<AuditReport> {
    let printed = '';
    const stdout = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      printed += String(chunk);
      return true;
    });
    try {
      expect(await sluice(['audit', '--url', url, '--settle', '0s', '--json'])).toBe(0);
    } finally {
      stdout.mockRestore();
    }
    return JSON.parse(printed) as AuditReport;
  }

  test.for(reversals)(
    'a failed reversal of $step is shown, named by the audit, and completed by a retry',
    async ({ step, service, table, reverses }) => {
      const userId = freshUser();
      const { id } = await placeOrder(url, userId);
      await completed(url, id);
      await query(
        databaseUrl,
        `CREATE TRIGGER reject BEFORE INSERT OR UPDATE ON ${table} FOR EACH ROW WHEN (${reverses})
         EXECUTE FUNCTION reject()`,
      );
      const removeCause = () => query(databaseUrl, `DROP TRIGGER IF EXISTS reject ON ${table}`);
      onTestFinished(async () => void (await removeCause()));
      await postJson(`${url}/orders/${id}/cancel`, {});

      const order = await stepIs(id, step, 'failed');
      expect(order.status).toBe('cancelled');
      expect(order.steps[step]).toEqual({
        status: 'failed',
        at: expect.stringMatching(/Z$/),
        detail: 'the reversal failed; an operator can retry it',
      });
      for (const other of stepNames.filter((name) => name !== step)) await stepIs(id, other, 'reverted');
      // Only operators see the error.
      const [dead] = (await get(`${url}/failed-messages/${service}`, schemas.failedMessagesPage)).items;
      expect(dead).toMatchObject({ subject: id, type: 'order.cancelled', error: 'cannot reach 10.1.2.3' });
      expect(JSON.stringify(order)).not.toContain('10.1.2.3');
      const [listed] = (await get(`${url}/orders?userId=${userId}`, schemas.ordersPage)).items;
      expect(listed?.steps[step].status).toBe('failed');

      const { overdue } = await audit();
      expect(overdue).toMatchObject([
        {
          id,
          waitsFor: [`${step} (failed)`],
          messages: expect.arrayContaining([`dead at ${service}: order.cancelled`]),
        },
      ]);

      // Resending the cancellation changes nothing: the reply to it is the same failure.
      const resends = async () => {
        const [row] = await query<{ resends: number }>(
          databaseUrl,
          `SELECT resends FROM sluice_order.progress WHERE order_id = '${id}'`,
        );
        return Number(row?.resends);
      };
      const before = await resends();
      await eventually(async () => (await resends()) > before, { what: 'it is resent', timeoutMs: 20_000 });
      expect((await read(id)).steps[step].status).toBe('failed');

      await removeCause();
      const [process] = system.processes(service);
      if (process) await retryDead(process, service);
      expect((await stepIs(id, step, 'reverted')).status).toBe('cancelled');
      expect((await audit()).overdue).toEqual([]);
    },
  );
});
