// Has requests answered before a flood of them comes. Code that has not run yet is slow: it is interpreted, and compiled
// once it has run often enough. In a flash sale's first second that tripled the response times.
import type { RequestListener } from 'node:http';
import type { Logger } from 'pino';
import { type Dispatcher, Pool } from 'undici';
import { listen } from './server.ts';

const CONNECTIONS = 32;
/** A third of them gains little, and three times as many gain nothing. */
const REQUESTS = 1_500;
/** On a slow machine, the start of the process is more urgent. */
const MAX_MS = 1_000;

/** Compiled code is not kept for ever: V8 drops what has not run for long. */
const AGAIN_AFTER_MS = 60_000;

/** A rehearsal that is not repeated within a minute. */
export class Rehearsal {
  readonly #work: () => Promise<unknown>;
  readonly #log: Logger;
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(work: () => Promise<unknown>, log: Logger) {
    this.#work = work;
    this.#log = log;
  }

  /** Never rejects: without the rehearsal, a flood is only answered more slowly. */
  async run(): Promise<void> {
    if (performance.now() - this.#lastAt < AGAIN_AFTER_MS) return;
    this.#lastAt = performance.now();
    await this.#work().catch((error) => this.#log.warn({ error: String(error) }, 'requests not rehearsed'));
  }
}

/**
 * Sends requests to `listener` through a server of its own, until REQUESTS are answered or MAX_MS have passed.
 * `requestOf` gets the numbers from 0. Resolves with the number of responses by status; rejects if there is no response.
 */
export async function rehearse(
  listener: RequestListener,
  requestOf: (number: number) => Dispatcher.RequestOptions,
): Promise<Record<number, number>> {
  const server = await listen(listener, '127.0.0.1', 0);
  const client = new Pool(server.url, { connections: CONNECTIONS });
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
  try {
    await Promise.all(Array.from({ length: CONNECTIONS }, send));
  } finally {
    await client.destroy();
    server.server.close();
  }
  return responses;
}
