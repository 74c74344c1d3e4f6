// `npm run check` runs it: fails if the current contracts break what a client, a service of the baseline or a stored
// event relies on. It names the field and the rule. docs/compatibility.md has the rules.
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Baseline, readBaseline } from './contracts/baseline.ts';
import { type ContractFinding, compareContracts } from './contracts/compare-contracts.ts';
import { contractSchemas } from './contracts/contract-schemas.ts';
import { rules } from './contracts/findings.ts';
import { compareRecorded, samplesOf } from './contracts/recorded.ts';
import { sources as currentSources, type Sources } from './contracts/sources.ts';

export const breakingChanges = (
  { schemas, recorded, parsed }: Baseline,
  sources: Sources = currentSources,
): ContractFinding[] => [
  ...compareContracts(schemas, contractSchemas(sources)),
  ...compareRecorded(samplesOf(sources, recorded), parsed),
];

/** Such as `event order.placed: data.total: field-removed: the field is gone … (a field stays, under its name)`. */
export const lineOf = ({ subject, path, rule, detail }: ContractFinding): string =>
  [subject, ...(path === '' ? [] : [path]), rule, `${detail} (rule: ${rules[rule]})`].join(': ');

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const found = breakingChanges(await readBaseline());
  if (found.length > 0) {
    console.error(found.map(lineOf).join('\n'));
    console.error(`${found.length} breaking changes of the contracts. docs/compatibility.md has the rules.`);
    process.exitCode = 1;
  }
}
