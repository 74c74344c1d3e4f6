// One line for each fault of all test files: in test-results/faults.json, and in a table at the end of the run.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const file = fileURLToPath(new URL('../../../test-results/faults.json', import.meta.url));

export interface FaultResult {
  readonly fault: string;
  readonly rounds: number;
  readonly orders: number;
  readonly lost: number;
  readonly duplicated: number;
  /** From the end of the fault until all work was done; null if that took longer than allowed. */
  readonly recoveryMs: number | null;
}

/** Test files run one after the other, so there is no concurrent writer. */
export function reportFault(result: FaultResult): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify([...readResults(), result], undefined, 2)}\n`);
}

const readResults = (): FaultResult[] => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []);

/** Vitest's globalSetup: removes the last run's results, and prints this run's at its end. */
export default function setup(): () => void {
  rmSync(file, { force: true });
  return () => {
    const results = readResults();
    if (results.length > 0) console.log(`\n${table(results)}\n`);
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
