// The tables of docs/metrics.md.
import { readFileSync } from 'node:fs';

export interface DocumentedMetric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly unit: string;
}

const text = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');

const codeIn = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);

/** All metrics, in the order of the page. */
export const documentedMetrics: readonly DocumentedMetric[] = text
  .split('\n')
  .filter((line) => /^\| `(sluice|process|nodejs)_/.test(line))
  .map((line) => {
    const [name = '', type = '', labels = '', unit = ''] = line.split(' | ').map((cell) => cell.replace(/^\|/, ''));
    return { name: String(codeIn(name)), type, labels: codeIn(labels), unit };
  });

/** The names of the alerts in the table of alerts. */
export const documentedAlerts: readonly string[] = [...text.matchAll(/^\| `(Sluice\w+)` \|/gm)].map(
  ([, name = '']) => name,
);
