// Waiting for facts instead of time, and names that keep tests apart.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  /** What is waited for, for the failure message: "the order is completed". */
  readonly what: string;
  /** Default 10 s. */
  readonly timeoutMs?: number;
}

type Truthy<T> = Exclude<T, undefined | null | false | 0 | 0n | ''>;

/**
 * Asks every 20 ms until `fact` answers something truthy, and returns that. A rejection (a failed `expect`, too) counts
 * as "not yet"; at the deadline the failure names what was waited for and what was seen last.
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
      seen = error;
    }
    if (performance.now() > deadline) {
      const last = seen instanceof Error ? `last error: ${seen.message}` : String(seen);
      throw new Error(`waited ${timeoutMs / 1000} s in vain for: ${what}; ${last}`, { cause: seen });
    }
    await delay(20);
  }
}

/** A BUS_PREFIX that nobody else uses. It has at most 40 characters. */
export const freshPrefix = () => `test-${randomUUID().replaceAll('-', '')}`;

/** Holds `count` callers back until all of them have arrived, then releases them at once. */
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
