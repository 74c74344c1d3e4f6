// Sends requests before a flood comes, so that V8 has compiled the code that answers them. Code that has not run yet is
// interpreted, and compiled once it has run often enough: in the first second of a flash sale, that tripled the response
// times.
import type { RequestListener } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Dispatcher } from 'undici';
import { ClientPool } from './client-pool.ts';
import { listen } from './server.ts';

const CONNECTIONS = 32;
/** 500 help little, and 4,500 help no more. */
const REQUESTS = 1_500;
/** On a slow machine, the start of the process is more urgent. */
const MAX_MS = 1_000;
/** Compiled code is not kept for ever: V8 discards what has not run for a while. */
const AGAIN_AFTER_MS = 60_000;

/** A warm-up that is not repeated within a minute. */
export class WarmUp {
  readonly #work: () => Promise<unknown>;
  readonly #log: Logger;
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(work: () => Promise<unknown>, log: Logger) {
    this.#work = work;
    this.#log = log;
  }

  /** Never rejects: without it, a flood is only answered more slowly. */
  async run(): Promise<void> {
    if (performance.now() - this.#lastAt < AGAIN_AFTER_MS) return;
    this.#lastAt = performance.now();
    await this.#work().catch((error) =>
      this.#log.warn({ error: String(error) }, 'warm-up failed, the first requests of a flood will be slower'),
    );
  }
}

/**
 * Sends requests to `listener` through a server of its own, until REQUESTS are answered or MAX_MS have passed: a machine
 * that is too slow for a response within that time is not at fault. `requestOf` is called with 0, 1, 2, … Resolves with
 * the number of responses by status. Rejects if a connection breaks.
 */
export async function sendRequests(
  listener: RequestListener,
  requestOf: (number: number) => Dispatcher.RequestOptions,
): Promise<Record<number, number>> {
  const server = await listen(listener, '127.0.0.1', 0);
  const client = new ClientPool(server.url, { connections: CONNECTIONS });
  const endAt = performance.now() + MAX_MS;
  const responses: Record<number, number> = {};
  let sent = 0;
  const send = async () => {
    while (sent < REQUESTS && performance.now() < endAt) {
      const { statusCode, body } = await client.request(requestOf(sent++));
      await body.dump();
      responses[statusCode] = (responses[statusCode] ?? 0) + 1;
    }
  };
  const sending = Promise.all(Array.from({ length: CONNECTIONS }, send));
  try {
    await Promise.race([sending, delay(MAX_MS, undefined, { ref: false })]);
  } finally {
    sending.catch(() => undefined); // requests that are under way are dropped
    await client.close();
    server.server.close();
  }
  return responses;
}
