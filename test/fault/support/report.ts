// One line for each fault of all test files: in test-results/faults.ndjson, and in a table at the end of the run.
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const file = fileURLToPath(new URL('../../../test-results/faults.ndjson', import.meta.url));

export interface FaultResult {
  readonly fault: string;
  readonly rounds: number;
  readonly orders: number;
  readonly lost: number;
  readonly duplicated: number;
  /** From the end of the fault until all work was done; null if that took longer than allowed. */
  readonly recoveryMs: number | null;
}

/** Appends, because several test files report at the same time. */
export function reportFault(result: FaultResult): void {
  mkdirSync(dirname(file), { recursive: true });
  appendFileSync(file, `${JSON.stringify(result)}\n`);
}

const readResults = (): FaultResult[] =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
    : [];

/** Projects that use the report in this run: each loads this module anew, all in the one main process. */
const holder = globalThis as typeof globalThis & { sluiceFaultReports?: number };

/** Vitest's globalSetup: removes the last run's results, and prints this run's once its last project has ended. */
export default function setup(): () => void {
  rmSync(file, { force: true });
  holder.sluiceFaultReports = (holder.sluiceFaultReports ?? 0) + 1;
  return () => {
    holder.sluiceFaultReports = (holder.sluiceFaultReports ?? 0) - 1;
    const results = readResults();
    if (holder.sluiceFaultReports === 0 && results.length > 0) console.log(`\n${table(results)}\n`);
  };
}

function table(results: readonly FaultResult[]): string {
  const rows = [
    ['fault', 'rounds', 'orders', 'lost', 'duplicated', 'recovery'],
    ...results.map(({ fault, rounds, orders, lost, duplicated, recoveryMs }) => [
      fault,
      ...[rounds, orders, lost, duplicated].map(String),
      recoveryMs === null ? 'late' : `${(recoveryMs / 1000).toFixed(1)} s`,
    ]),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ');
  return rows.map(line).join('\n');
}
