// A vitest reporter for vitest.ts: writes the result of each test to the file in MUTATIONS_REPORT. Unlike vitest's own
// JSON it contains the difference between expected and actual values.
import { writeFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, SerializedError, TestCase, TestModule } from 'vitest/node';

export interface RanTest {
  /** Relative to the root of the tree. */
  readonly file: string;
  /** The full name, as `vitest -t` matches it. */
  readonly name: string;
  /** Undefined if the test passed. */
  readonly failure?: string;
}

export interface Report {
  /** Tests that ran to the end; skipped ones are left out. */
  readonly tests: readonly RanTest[];
  /** Errors outside of any test: a file that cannot be loaded, servers that do not start. */
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
