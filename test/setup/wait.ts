// Waiting for facts instead of time, and unique names that isolate tests.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  /** The fact, for the failure message: "the order is completed". */
  readonly what: string;
  /** Default 10 s. */
  readonly timeoutMs?: number;
}

/** A response contradicts its contract: no later response makes that right, so `eventually` fails at once. */
export class ResponseMismatch extends Error {}

type Truthy<T> = Exclude<T, undefined | null | false | 0 | 0n | ''>;

/**
 * Calls `fact` every 20 ms until it returns a truthy value, and returns that value. A rejection (also a failed
 * `expect`) counts as "not yet", unless it is a ResponseMismatch. At the deadline it fails with `what` and the last result.
 */
export async function eventually<T>(
  fact: () => T | Promise<T>,
  { what, timeoutMs = 10_000 }: EventuallyOptions,
): Promise<Truthy<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let seen: unknown;
    try {
      const answer = await fact();
      if (answer) return answer as Truthy<T>;
      seen = `last answer: ${JSON.stringify(answer)}`;
    } catch (error) {
      if (error instanceof ResponseMismatch) throw error;
      seen = error;
    }
    if (performance.now() > deadline) {
      const last = seen instanceof Error ? `last error: ${seen.message}` : String(seen);
      throw new Error(`waited ${timeoutMs / 1000} s in vain for: ${what}; ${last}`, { cause: seen });
    }
    await delay(20);
  }
}

/** A unique BUS_PREFIX of at most 40 characters. */
export const freshPrefix = () => `test-${randomUUID().replaceAll('-', '')}`;

/** Blocks `count` callers until all have arrived, and then releases them at once. */
export function gate(count: number): () => Promise<void> {
  let arrived = 0;
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return () => {
    arrived += 1;
    if (arrived === count) open();
    return opened;
  };
}
