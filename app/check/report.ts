// The result of `sluice check`: a line for each server.
import { setMaxListeners } from 'node:events';
import { unlessAborted } from '../../infra/runtime/promises.ts';
import { reasonOf } from '../../infra/runtime/reason.ts';
import { redactIn } from '../../infra/runtime/server-url.ts';

/** What a check of one server finds. */
export interface Findings {
  /** Product and version, such as `PostgreSQL 15.8`. */
  readonly version?: string | undefined;
  /** What was found to suffice: rights, limits. */
  readonly facts?: readonly string[];
  /** The server's time minus this machine's. */
  readonly clockDifferenceMs?: number | undefined;
  /** What does not stop the system from working. */
  readonly warnings?: readonly string[];
  /** What would not work, with what to change. */
  readonly problems?: readonly string[];
  /** It works, but accepts no writes while another server of its list does. */
  readonly isStandby?: boolean;
}

/** A server to check. */
export interface Target {
  /** The variable that names it. */
  readonly variable: string;
  /** Its URL without passwords, its host and port, or a folder. */
  readonly server: string;
  /** Ends its connections when the signal aborts. A rejection is a problem: the server does not respond. */
  readonly check: (signal: AbortSignal) => Promise<Findings>;
}

export interface ServerReport {
  readonly variable: string;
  readonly server: string;
  readonly status: 'ok' | 'warning' | 'failed';
  readonly version: string | null;
  readonly facts: readonly string[];
  readonly clockDifferenceMs: number | null;
  readonly warnings: readonly string[];
  readonly problems: readonly string[];
  readonly isStandby: boolean;
}

export interface CheckReport {
  /** No server failed. */
  readonly ok: boolean;
  readonly servers: readonly ServerReport[];
}

/** How long the check of one server may take; the slowest one, of a silent broker, takes half of it. */
const DEADLINE_MS = 20_000;
/** Schedules of sales and expiry times follow the database's clock, and logs this machine's. */
const MAX_CLOCK_DIFFERENCE_MS = 1_000;

/** Never rejects, except with the signal's reason. */
export async function examine({ variable, server, check }: Target, signal: AbortSignal): Promise<ServerReport> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), DEADLINE_MS);
  const either = AbortSignal.any([signal, late.signal]);
  setMaxListeners(0, either); // each step of a check has a listener
  try {
    return reportOf(variable, server, await unlessAborted(either, check(either)));
  } catch (error) {
    signal.throwIfAborted();
    const problem = late.signal.aborted
      ? `no result within ${DEADLINE_MS / 1_000} s`
      : `no connection: ${reasonOf(error)}`;
    return reportOf(variable, server, { problems: [problem] });
  } finally {
    clearTimeout(timer);
  }
}

function reportOf(variable: string, server: string, findings: Findings): ServerReport {
  const { version = null, facts = [], clockDifferenceMs: clock, isStandby = false } = findings;
  const hide = (text: string) => redactIn(text, []);
  const problems = (findings.problems ?? []).map(hide);
  const warnings = [...(findings.warnings ?? []).map(hide)];
  if (clock !== undefined && Math.abs(clock) > MAX_CLOCK_DIFFERENCE_MS)
    warnings.push(`its clock is ${differenceIn(clock)} this machine's: synchronise both`);
  const status = problems.length > 0 ? 'failed' : warnings.length > 0 ? 'warning' : 'ok';
  const clockDifferenceMs = clock === undefined ? null : Math.round(clock);
  return { variable, server, status, version, facts, clockDifferenceMs, warnings, problems, isStandby };
}

const differenceIn = (ms: number) => `${Math.abs(ms / 1_000).toFixed(1)} s ${ms > 0 ? 'ahead of' : 'behind'}`;

/** The reports with a problem for each standby whose list has no server that accepts writes. */
export function withoutPrimary(reports: readonly ServerReport[]): readonly ServerReport[] {
  const hasPrimary = (variable: string) =>
    reports.some((report) => report.variable === variable && report.status !== 'failed' && !report.isStandby);
  return reports.map((report) => {
    if (!report.isStandby || hasPrimary(report.variable)) return report;
    return { ...report, status: 'failed', problems: ['no server of the list accepts writes: promote a standby'] };
  });
}
