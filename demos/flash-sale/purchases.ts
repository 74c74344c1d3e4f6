// POST /flash-sales/:id/purchases, thousands of times and as cheaply as can be: this process shares the machine with
// the system that it visits. Bounded connections; requests beyond them wait here.
import { type Dispatcher, Pool } from 'undici';
import { messageOf } from '../shared/errors.ts';
import type { Answer } from './outcome.ts';

export const CONNECTIONS = 512;
const CONNECT_TIMEOUT_MS = 5_000;
const SILENCE_TIMEOUT_MS = 10_000;
/** A ticket or a problem; anything longer is not Sluice. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** `waitedMs`: for a free connection, as part of the time until the answer. */
export type OnAnswer = (answer: Answer, waitedMs: number) => void;

export class PurchaseClient {
  readonly #pool: Pool;
  readonly #path: string;
  readonly #health: string;

  constructor(url: string, saleId: string) {
    const { origin, pathname } = new URL(url);
    const base = pathname.replace(/\/$/, '');
    this.#path = `${base}/flash-sales/${saleId}/purchases`;
    this.#health = `${base}/healthz`;
    this.#pool = new Pool(origin, {
      connections: CONNECTIONS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      headersTimeout: SILENCE_TIMEOUT_MS,
      bodyTimeout: SILENCE_TIMEOUT_MS,
      maxResponseSize: MAX_ANSWER_BYTES,
    });
  }

  /**
   * Makes connections, as buyers have who look at the page before the sale opens: a server accepts new ones slowly while
   * it is flooded. Resolves when all are there, or could not be.
   */
  async connect(count: number): Promise<void> {
    const looks = Array.from({ length: count }, () =>
      this.#pool.request({ path: this.#health, method: 'GET' }).then(({ body }) => body.dump()),
    );
    await Promise.allSettled(looks);
  }

  /** Calls `onAnswer` exactly once, with whatever comes of it. */
  buy(userId: string, onAnswer: OnAnswer): void {
    this.#pool.dispatch(
      {
        path: this.#path,
        method: 'POST',
        headers: ['content-type', 'application/json', 'accept', 'application/json'],
        body: `{"userId":"${userId}"}`, // our own ids need no escaping
      },
      new AnswerReader(onAnswer),
    );
  }

  /** Ends every connection; requests under way are answered with an error. */
  close(): Promise<void> {
    return this.#pool.destroy();
  }
}

class AnswerReader implements Dispatcher.DispatchHandler {
  readonly #onAnswer: OnAnswer;
  readonly #askedAt = performance.now();
  #waitedMs = 0;
  #status = 0;
  #retryAfter: unknown;
  #body = '';

  constructor(onAnswer: OnAnswer) {
    this.#onAnswer = onAnswer;
  }

  onRequestStart(): void {
    this.#waitedMs = performance.now() - this.#askedAt;
  }

  onResponseStart(_controller: unknown, status: number, headers: Record<string, string | string[] | undefined>): void {
    this.#status = status;
    this.#retryAfter = headers['retry-after'];
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#body += chunk.toString('latin1'); // what is looked at is ASCII
  }

  onResponseEnd(): void {
    this.#onAnswer(readAnswer(this.#status, this.#retryAfter, this.#body), this.#waitedMs);
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.#onAnswer({ outcome: 'error', lost: true, message: messageOf(error) || error.name }, this.#waitedMs);
  }
}

/** What an answer says. Refusals are told by the problem's name, without parsing the rest. */
export function readAnswer(status: number, retryAfter: unknown, body: string): Answer {
  if (status === 202 || status === 200) return ticketOf(status, body) ?? unexpected(status, body);
  const retryAfterMs = typeof retryAfter === 'string' && /^\d{1,6}$/.test(retryAfter) ? +retryAfter * 1_000 : undefined;
  if (status === 429 && body.includes('/problems/queue-full')) return { outcome: 'queue-full', retryAfterMs };
  if (status === 409 && body.includes('/problems/sold-out')) return { outcome: 'sold-out', retryAfterMs };
  if (status === 409 && body.includes('/problems/not-open')) return { outcome: 'not-open', retryAfterMs };
  if (status === 503) return { outcome: 'overloaded', retryAfterMs };
  return unexpected(status, body);
}

function ticketOf(status: number, body: string): Answer | undefined {
  try {
    const { ticketId, position } = JSON.parse(body) as Record<string, unknown>;
    if (typeof ticketId !== 'string' || typeof position !== 'number') return undefined;
    return { outcome: status === 202 ? 'admitted' : 'already', ticketId, position };
  } catch {
    return undefined;
  }
}

const unexpected = (status: number, body: string): Answer => ({
  outcome: 'error',
  lost: status >= 500,
  message: `unexpected answer: ${status} ${body.slice(0, 200)}`,
});
