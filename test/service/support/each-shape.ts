// Runs a block of tests on each of several shapes of the system. The tests of a shape share one system.
import { afterAll, beforeAll, describe, type TestAPI, test } from 'vitest';
import type { Environment } from '../../../demos/shared/child-process.ts';
import { gatewaysOf } from './flash-sales.ts';
import type { Shape, System } from './systems.ts';

type Test = Pick<TestAPI, 'for'> & ((name: string, run: () => unknown, timeoutMs?: number) => void);

/** The fixture of one shape's tests. `shape` and the test functions are always available, the rest while a test runs. */
export interface Fixture {
  readonly shape: Shape;
  /** Vitest's `test`, skipped if the shape's servers are not available. */
  readonly test: Test;
  /** For tests that mostly wait: neighbours run at the same time. */
  readonly concurrentTest: Test;
  readonly system: System;
  /** The URL of a process that serves orders. */
  readonly orders: string;
  /** The URLs of the processes that serve flash sales. */
  readonly gateways: string[];
  /** Any of the gateways. */
  readonly url: string;
  /** Throws if the database is inside the process. */
  readonly databaseUrl: string;
}

interface FixtureOptions {
  readonly shapes: readonly Shape[];
  readonly env?: Environment;
  /** Runs once, before the first test. */
  readonly prepare?: (system: System) => Promise<void>;
}

/** Starts the system with `env` before the first test, and removes it after the last one. */
export function onEachShape(
  { shapes, env = {}, prepare = async () => {} }: FixtureOptions,
  tests: (fixture: Fixture) => void,
): void {
  describe.for(shapes.map((shape) => [shape.name, shape] as const))('%s', ([, shape]) => {
    let started: System | undefined;
    const system = () => {
      if (!started) throw new Error(`the system is not running: ${shape.name}`);
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
      concurrentTest: test.skipIf(!shape.available).concurrent,
      get system() {
        return system();
      },
      get orders() {
        return system().url('order');
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
