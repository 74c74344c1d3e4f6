// Whether the checker and the burst that prove the admission can go red. The same burst meets the admission as it is,
// one that checks and then adds with nothing else to stop it, and one without the lock whose constraints are in place.
import { expect, inject, test } from 'vitest';
import { eventually } from '../setup/wait.ts';
import { checkInvariants, isDrained, type Verdict } from './support/checker.ts';
import { judge } from './support/conclude.ts';
import { openSale, startSaleSystem } from './support/sale.ts';
import { newSchedule } from './support/schedule.ts';
import { query } from './support/sql.ts';

const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const terms = { stock: 100, queueCap: 50, drainPerSecond: 50 };

test('ten times the cap in one burst at four gateways leaves the books right to the unit', async () => {
  const { verdict, recoveryMs } = await burstAfter();
  judge({ fault: 'ten times the cap at once, four gateways', rounds: 1, verdict, recoveryMs });
});

test('an admission that checks and then adds is found out', async () => {
  const { verdict } = await burstAfter(withoutLock(UNTIL_ALL_HAVE_CHECKED), WITHOUT_CONSTRAINTS);
  const violations = verdict.violations.join('\n');
  expect(violations).toContain('I5: more than the cap, by the journal');
  expect(violations).toContain("I5: more than the cap, by the tickets' times");
  expect(violations).toContain('I4: tickets are not numbered without gaps');
});

test('an admission that forgets who has a ticket is found out', async () => {
  const { verdict } = await burstAfter(FORGETFUL, WITHOUT_CONSTRAINTS);
  const violations = verdict.violations.join('\n');
  expect(violations).toContain('I4: a second live ticket');
  expect(violations).toContain('I4: admitted twice');
});

test('without its lock the constraints keep the books right', async () => {
  const { verdict, recoveryMs } = await burstAfter(withoutLock('PERFORM pg_sleep(0.01);'));
  // A position is read beside the row, so it is only as exact as the lock makes it.
  const violations = verdict.violations.filter((violation) => !violation.startsWith('I5: a position that it was not'));
  judge({
    fault: 'an admission without its lock',
    rounds: 1,
    verdict: { ...verdict, violations },
    recoveryMs,
  });
});

/** At this point the admissions of four gateways wait for each other, for half a second at the most. */
const UNTIL_ALL_HAVE_CHECKED = `
  PERFORM pg_advisory_xact_lock_shared(4711);
  FOR turn IN 1..50 LOOP
    EXIT WHEN (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) >= 4;
    PERFORM pg_sleep(0.01);
  END LOOP;`;

/** Replaces a part of the function that decides. */
const mutant = (part: string, other: string) => `DO $mutation$
  DECLARE
    definition text := pg_get_functiondef('sluice_flash_sale.admit(uuid,json)'::regprocedure);
    mutant text := replace(definition, $part$${part}$part$, $other$${other}$other$);
  BEGIN
    IF mutant = definition THEN RAISE EXCEPTION 'there is nothing to replace'; END IF;
    EXECUTE mutant;
  END $mutation$`;

/** It reads what there is without holding on to it, and then does something else before it adds. */
const withoutLock = (somethingElse: string) =>
  mutant('WHERE id = the_sale FOR NO KEY UPDATE;', `WHERE id = the_sale; ${somethingElse}`);

const FORGETFUL = mutant('t.user_id IN (SELECT request.user_id FROM request)', 'false');

const WITHOUT_CONSTRAINTS = `DO $mutation$
  DECLARE
    dropped record;
  BEGIN
    FOR dropped IN SELECT conrelid::regclass AS relation, conname FROM pg_constraint
      WHERE (conrelid = 'sluice_flash_sale.sales'::regclass AND contype = 'c')
        OR (conrelid = 'sluice_flash_sale.tickets'::regclass AND contype = 'u')
    LOOP
      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', dropped.relation, dropped.conname);
    END LOOP;
    DROP INDEX sluice_flash_sale.tickets_live;
  END $mutation$`;

/** Ten times the cap at once, at four gateways, once the database was changed. */
async function burstAfter(...mutations: readonly string[]): Promise<{ verdict: Verdict; recoveryMs: number | null }> {
  const schedule = newSchedule();
  const system = await startSaleSystem({
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    redisUrl: servers.redisUrl,
    gateways: 4,
  });
  const { databaseUrl } = system;
  for (const mutation of mutations) await query(databaseUrl, mutation);
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
