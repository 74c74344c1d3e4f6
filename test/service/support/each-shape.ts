// A block of tests for each of several shapes of the system, on one system that is started for all of them.
import { afterAll, beforeAll, describe, type TestAPI, test } from 'vitest';
import type { Environment } from '../../../demos/shared/child-process.ts';
import { gatewaysOf } from './flash-sales.ts';
import type { Shape, System } from './systems.ts';

/** What the tests of one shape run on. All but `shape` and `test` is there once they run. */
export interface Fixture {
  readonly shape: Shape;
  /** As vitest's, and skipped where the shape's servers could not be had. */
  readonly test: Pick<TestAPI, 'for'> & ((name: string, run: () => unknown) => void);
  readonly system: System;
  /** Where flash sales are served, one URL for each process. */
  readonly gateways: string[];
  /** Any of the gateways. */
  readonly url: string;
  /** Throws where the database is inside the process. */
  readonly databaseUrl: string;
}

export interface FixtureOptions {
  readonly shapes: readonly Shape[];
  readonly env?: Environment;
  /** Runs once, before the first test. */
  readonly prepare?: (system: System) => Promise<void>;
}

/** The system is started with `env`, and removed after the last test. */
export function onEachShape(
  { shapes, env = {}, prepare = async () => {} }: FixtureOptions,
  tests: (fixture: Fixture) => void,
): void {
  describe.for(shapes.map((shape) => [shape.name, shape] as const))('%s', ([, shape]) => {
    let started: System | undefined;
    const system = () => {
      if (!started) throw new Error(`there is no system: ${shape.name}`);
      return started;
    };
    beforeAll(async () => {
      if (!shape.available) return;
      started = await shape.start(env);
      await prepare(started);
    });
    afterAll(() => started?.remove());
    tests({
      shape,
      test: test.skipIf(!shape.available),
      get system() {
        return system();
      },
      get gateways() {
        return gatewaysOf(system());
      },
      get url() {
        return String(this.gateways[0]);
      },
      get databaseUrl() {
        const { databaseUrl } = system();
        if (!databaseUrl) throw new Error(`the database is inside the process: ${shape.name}`);
        return databaseUrl;
      },
    });
  });
}
