import { defineConfig } from 'vitest/config';

const servers = 'test/setup/servers.ts';
const build = 'test/setup/build.ts';
const faultTable = 'test/fault/support/report.ts';

/** A project per kind of test: what is needed grows from the first to the last. */
const project = (
  name: string,
  globalSetup: string[],
  options: { testTimeout?: number; fileParallelism?: boolean; sequence?: { groupOrder: number } } = {},
) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    globalSetup,
    testTimeout: 30_000,
    hookTimeout: 120_000,
    ...options,
  },
});

export default defineConfig({
  test: {
    // Servers and spawned processes take their share of the machine beside the test files.
    maxWorkers: 2,
    projects: [
      project('unit', []),
      project('contract', [servers]),
      project('service', [build, servers]),
      project('e2e', [build, servers]),
      // Whole systems for minutes: floods, silences, outages, audits of what was damaged.
      project('long', [build, servers], { testTimeout: 120_000 }),
      // Alone, and one after the other: a fault test's deadlines assume that no other one loads the machine.
      project('fault', [build, servers, faultTable], {
        testTimeout: 180_000,
        fileParallelism: false,
        sequence: { groupOrder: 1 },
      }),
    ],
  },
});
