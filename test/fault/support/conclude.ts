// The end of a fault: everything that was accepted is done in time, nothing is lost, nothing is there twice.
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
  /** Who pay for and cancel what the buyers got. */
  readonly holders?: Holders | readonly Holders[];
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
    load?.log ?? new Map(),
    merged(buying),
    await payments?.entries(),
    merged(holding),
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
