// The end of a fault: all accepted work is done in time, nothing is lost and nothing is duplicated.
import { expect } from 'vitest';
import type { Payments } from '../../setup/payments.ts';
import { eventually } from '../../setup/wait.ts';
import type { Buyers } from './buyers.ts';
import { checkInvariants, isDrained, type Verdict } from './checker.ts';
import type { Holders } from './holders.ts';
import type { Load } from './load.ts';
import { reportFault } from './report.ts';

export interface Ending {
  readonly fault: string;
  readonly rounds: number;
  readonly databaseUrl: string;
  readonly load?: Load;
  readonly buyers?: Buyers | readonly Buyers[];
  /** They pay for and cancel the buyers' orders. */
  readonly holders?: Holders | readonly Holders[];
  /** The payment provider. */
  readonly payments?: Pick<Payments, 'entries'>;
  /** The end of the fault, by performance.now(). */
  readonly over: number;
  /** I7: all work must be done this long after the end of the fault. */
  readonly withinMs: number;
}

/** Stops the load, waits until all work is done (I7), reports, and fails if an invariant is violated. */
export async function conclude({
  fault,
  rounds,
  databaseUrl,
  load,
  buyers = [],
  holders = [],
  payments,
  over,
  withinMs,
}: Ending): Promise<Verdict> {
  const buying = [buyers].flat();
  const holding = [holders].flat();
  await Promise.all([load?.stop(), ...buying.map((each) => each.stop())]);
  await Promise.all(holding.map((each) => each.stop()));
  const timeoutMs = Math.max(1_000, over + withinMs - performance.now());
  const recoveryMs = await eventually(() => isDrained(databaseUrl), { what: 'everything is done', timeoutMs }).then(
    () => performance.now() - over,
    () => null, // the checker says what is left
  );
  const verdict = await checkInvariants(
    { databaseUrl },
    {
      log: load?.log ?? new Map(),
      buyers: merged(buying),
      holders: merged(holding),
      ledger: await payments?.entries(),
    },
  );
  judge({ fault, rounds, verdict, recoveryMs });
  return verdict;
}

const merged = <Entry>(groups: readonly { readonly log: ReadonlyMap<string, Entry> }[]) =>
  new Map(groups.flatMap(({ log }) => [...log]));

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
