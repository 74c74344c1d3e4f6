// The end of a fault: everything that was accepted is done in time, nothing is lost, nothing is there twice.
import { expect } from 'vitest';
import type { Payments } from '../../setup/payments.ts';
import { eventually } from '../../setup/wait.ts';
import type { Buyers } from './buyers.ts';
import { checkInvariants, isDrained, type Verdict } from './checker.ts';
import type { Load } from './load.ts';
import { reportFault } from './report.ts';

export interface Ending {
  readonly fault: string;
  readonly rounds: number;
  readonly databaseUrl: string;
  readonly load?: Load;
  readonly buyers?: Buyers;
  /** Where orders are paid. */
  readonly payments?: Pick<Payments, 'entries'>;
  /** When the fault was over, as performance.now() tells time. */
  readonly over: number;
  /** I7: how long after the fault was over everything must be done. */
  readonly withinMs: number;
}

/** Stops the load, waits until everything is done (I7), reports, and fails where an invariant is broken. */
export async function conclude({
  fault,
  rounds,
  databaseUrl,
  load,
  buyers,
  payments,
  over,
  withinMs,
}: Ending): Promise<Verdict> {
  await Promise.all([load?.stop(), buyers?.stop()]);
  const timeoutMs = Math.max(1_000, over + withinMs - performance.now());
  const recoveryMs = await eventually(() => isDrained(databaseUrl), { what: 'everything is done', timeoutMs }).then(
    () => performance.now() - over,
    () => null, // the checker says what is left
  );
  const verdict = await checkInvariants(
    { databaseUrl },
    load?.log ?? new Map(),
    buyers?.log,
    await payments?.entries(),
  );
  judge({ fault, rounds, verdict, recoveryMs });
  return verdict;
}

export interface Judged {
  readonly fault: string;
  readonly rounds: number;
  readonly verdict: Verdict;
  readonly recoveryMs: number | null;
}

export function judge({ fault, rounds, verdict, recoveryMs }: Judged): void {
  const { orders, lost, duplicated, violations } = verdict;
  reportFault({ fault, rounds, orders, lost, duplicated, recoveryMs });
  expect(violations).toEqual([]);
  expect(orders, 'a fault that no order met proves nothing').toBeGreaterThan(0);
  expect(recoveryMs, 'I7: everything is done in time').not.toBeNull();
}
