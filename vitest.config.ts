import { defineConfig } from 'vitest/config';

const servers = 'test/setup/servers.ts';
const build = 'test/setup/build.ts';
const faultTable = 'test/fault/support/report.ts';

/** A project per kind of test: what is needed grows from the first to the last. */
const project = (
  name: string,
  globalSetup: string[],
  options: {
    testTimeout?: number;
    maxWorkers?: number;
    sequence?: { groupOrder: number };
    isolate?: boolean;
    include?: string[];
    exclude?: string[];
  } = {},
) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    globalSetup,
    testTimeout: 30_000,
    hookTimeout: 120_000,
    // On two cores. Most of these tests wait about as long as they work, and spawned processes work beside them.
    maxWorkers: 3,
    ...options,
  },
});

/** Unit tests that replace modules, which others must not see. */
const mocking = ['opening-timer', 'problem'].map((name) => `test/unit/${name}.test.ts`);

export default defineConfig({
  test: {
    projects: [
      // Files share their modules, whose import would take longer than the tests.
      project('unit', [], { isolate: false, exclude: mocking }),
      project('mocking', [], { include: mocking }),
      project('contract', [servers]),
      project('service', [build, servers]),
      // Attacks on the running system, and what they must not reach.
      project('security', [build, servers]),
      project('e2e', [build, servers]),
      // Whole systems for minutes: floods, silences, outages, audits of what was damaged.
      project('long', [build, servers], { testTimeout: 120_000, maxWorkers: 2, sequence: { groupOrder: 1 } }),
      // The packed baseline beside the current build, and beside a newer copy of it.
      project('upgrade', [build, servers], { testTimeout: 240_000, maxWorkers: 1, sequence: { groupOrder: 1 } }),
      // Alone, and one after the other: a fault test's deadlines assume that no other one loads the machine.
      project('fault', [build, servers, faultTable], {
        testTimeout: 180_000,
        maxWorkers: 1,
        sequence: { groupOrder: 2 },
      }),
    ],
  },
});
