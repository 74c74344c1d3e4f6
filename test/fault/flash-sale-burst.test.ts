// Ten times the cap at once meets the admission as it is, and one without the lock whose constraints are in place. That
// this goes red where an admission checks and then adds is shown by test/mutations.
import { inject, test } from 'vitest';
import { eventually } from '../setup/wait.ts';
import { checkInvariants, isDrained, type Verdict } from './support/checker.ts';
import { judge } from './support/conclude.ts';
import { openSale, startSaleSystem } from './support/sale.ts';
import { newSchedule } from './support/schedule.ts';
import { query } from './support/sql.ts';

const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const terms = { stock: 100, queueCap: 50, drainPerSecond: 50 };

test('ten times the cap in one burst at four gateways leaves the totals right to the unit', async () => {
  const { verdict, recoveryMs } = await burstAfter();
  judge({ fault: 'ten times the cap at once, four gateways', rounds: 1, verdict, recoveryMs });
});

test('without its lock the constraints keep the totals right', async () => {
  const { verdict, recoveryMs } = await burstAfter(WITHOUT_LOCK);
  // A position is read beside the row, so it is only as exact as the lock makes it.
  const violations = verdict.violations.filter((violation) => !violation.startsWith('I5: a position that it was not'));
  judge({
    fault: 'an admission without its lock',
    rounds: 1,
    verdict: { ...verdict, violations },
    recoveryMs,
  });
});

/** It reads what there is without holding on to it, and then waits before it adds. */
const WITHOUT_LOCK = `DO $mutation$
  DECLARE
    definition text := pg_get_functiondef('sluice_flash_sale.admit(uuid,json)'::regprocedure);
    mutant text := replace(definition, 'WHERE id = the_sale FOR NO KEY UPDATE;',
      'WHERE id = the_sale; PERFORM pg_sleep(0.01);');
  BEGIN
    IF mutant = definition THEN RAISE EXCEPTION 'there is nothing to replace'; END IF;
    EXECUTE mutant;
  END $mutation$`;

/** Ten times the cap at once, at four gateways, once the database was changed by `mutation`. */
async function burstAfter(mutation?: string): Promise<{ verdict: Verdict; recoveryMs: number | null }> {
  const schedule = newSchedule();
  const system = await startSaleSystem({
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    redisUrl: servers.redisUrl,
    gateways: 4,
  });
  const { databaseUrl } = system;
  if (mutation) await query(databaseUrl, mutation);
  const { buyers } = await openSale(system, schedule, terms, 1);
  // Each asks at two gateways at the same time.
  await buyers.burst((10 * terms.queueCap) / 2);
  const over = performance.now();
  await buyers.stop();
  const recoveryMs = await eventually(() => isDrained(databaseUrl), {
    what: 'everything is done',
    timeoutMs: DONE_WITHIN_MS,
  }).then(
    () => performance.now() - over,
    () => null, // the checker says what is left
  );
  return { verdict: await checkInvariants({ databaseUrl }, new Map(), buyers.log), recoveryMs };
}
