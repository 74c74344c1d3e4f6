// A burst of ten times the cap, at the real admission and at one without its lock but with its constraints. The
// mutation check-then-add in test/mutations shows that these tests fail for an admission that checks and then adds.
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

test('ten times the cap in one burst at four gateways leaves the totals exact', async () => {
  const { verdict, recoveryMs } = await burstAfter();
  judge({ fault: 'ten times the cap at once, four gateways', rounds: 1, verdict, recoveryMs });
});

test('keeps the totals right by its constraints, even without the lock', async () => {
  const { verdict, recoveryMs } = await burstAfter(WITHOUT_LOCK);
  // A position is computed apart from the row, so only the lock makes it exact.
  const violations = verdict.violations.filter((violation) => !violation.startsWith('I5: a wrong position'));
  judge({
    fault: 'admission without the lock on the row of the sale',
    rounds: 1,
    verdict: { ...verdict, violations },
    recoveryMs,
  });
});

/** Reads the row without locking it, and waits before it adds. */
const WITHOUT_LOCK = `DO $mutation$
  DECLARE
    definition text := pg_get_functiondef('sluice_flash_sale.admit(uuid,json)'::regprocedure);
    mutant text := replace(definition, 'WHERE id = the_sale FOR NO KEY UPDATE;',
      'WHERE id = the_sale; PERFORM pg_sleep(0.01);');
  BEGIN
    IF mutant = definition THEN RAISE EXCEPTION 'nothing to replace'; END IF;
    EXECUTE mutant;
  END $mutation$`;

/** Ten times the cap at once, at four gateways, after the database was changed by `mutation`. */
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
  const { buyers } = await openSale(system, schedule, terms, {
    twice: 1,
    tolerated: mutation ? ['internal-error'] : [], // the constraints reject what the missing lock lets through
  });
  // Each buyer uses two gateways at the same time.
  await buyers.burst((10 * terms.queueCap) / 2);
  const over = performance.now();
  await buyers.stop();
  const recoveryMs = await eventually(() => isDrained(databaseUrl), {
    what: 'everything is done',
    timeoutMs: DONE_WITHIN_MS,
  }).then(
    () => performance.now() - over,
    () => null, // the checker reports what is missing
  );
  return { verdict: await checkInvariants({ databaseUrl }, { buyers: buyers.log }), recoveryMs };
}
