// Child processes that the benchmark compares the system with.
import { forkScript } from '../demos/shared/child-process.ts';

const START_WITHIN_MS = 30_000;

export interface Route {
  readonly url: string;
  readonly pid: number;
  close(): Promise<unknown>;
}

/** A bare Express route that reads orders or purchases, or a bare node:http server (route.ts). */
export type RouteKind = 'order' | 'flash-sale' | 'http';

export async function startRoute(kind: RouteKind): Promise<Route> {
  const child = forkScript(`the bare route ${kind}`, new URL('route.ts', import.meta.url), [kind]);
  try {
    return { url: await child.receive<string>(START_WITHIN_MS), pid: child.pid ?? 0, close: () => child.end() };
  } catch (error) {
    await child.end('SIGKILL');
    throw error;
  }
}

/** Orders per second of the bare AMQP loop (amqp-loop.ts). */
export async function measureAmqpLoop(url: string, warmUpSeconds: number, seconds: number): Promise<number> {
  const args = [url, String(warmUpSeconds), String(seconds)];
  const child = forkScript('the bare AMQP loop', new URL('amqp-loop.ts', import.meta.url), args);
  try {
    return await child.receive<number>(START_WITHIN_MS + (warmUpSeconds + seconds) * 1_000);
  } finally {
    await child.end();
  }
}
