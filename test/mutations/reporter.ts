// Tells vitest.ts what became of each test: a vitest reporter that writes to the file named in MUTATIONS_REPORT. Unlike
// vitest's own JSON it says how what was expected differs from what was there.
import { writeFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, SerializedError, TestCase, TestModule } from 'vitest/node';

export interface RanTest {
  /** Relative to the root of the tree. */
  readonly file: string;
  /** As `vitest -t` sees it. */
  readonly name: string;
  /** Why it failed; undefined: it passed. */
  readonly failure?: string;
}

export interface Report {
  /** Those that ran to their end: none that was skipped or never began. */
  readonly tests: readonly RanTest[];
  /** What went wrong outside of any test: a file that cannot be loaded, servers that do not start. */
  readonly problems: readonly string[];
}

export default class implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const report: Report = {
      tests: modules.flatMap((module) => [...module.children.allTests()].flatMap((test) => ranTest(module, test))),
      problems: [
        ...modules.flatMap((module) => [module, ...module.children.allSuites()].flatMap((suite) => suite.errors())),
        ...unhandled,
      ].map(({ message }) => stripVTControlCharacters(message)),
    };
    writeFileSync(String(process.env.MUTATIONS_REPORT), JSON.stringify(report));
  }
}

function ranTest({ relativeModuleId: file }: TestModule, test: TestCase): RanTest[] {
  const { state, errors = [] } = test.result();
  const name = test.fullName.replaceAll(' > ', ' ');
  if (state === 'passed') return [{ file, name }];
  const failure = errors.map(({ message, diff = '' }) => `${message}\n${diff}`.trim()).join('\n');
  return state === 'failed' ? [{ file, name, failure: stripVTControlCharacters(failure) }] : [];
}
