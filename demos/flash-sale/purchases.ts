// POST /flash-sales/:id/purchases, thousands of times and as cheaply as can be: this process shares the machine with
// the system that it visits. Bounded connections; requests beyond them wait here.
import { HttpClient } from '../shared/http.ts';
import type { PurchaseAnswer } from './purchase-outcome.ts';

export const CONNECTIONS = 512;

/** `waitedMs`: for a free connection, as part of the time until the answer. */
export type OnAnswer = (answer: PurchaseAnswer, waitedMs: number) => void;

export class PurchaseClient {
  readonly #http: HttpClient;
  readonly #path: string;

  constructor(url: string, saleId: string) {
    this.#http = new HttpClient(url, CONNECTIONS);
    this.#path = `/flash-sales/${saleId}/purchases`;
  }

  /**
   * Makes connections, as buyers have who look at the page before the sale opens: a server accepts new ones slowly while
   * it is flooded. Resolves when all are there, or could not be.
   */
  async connect(count: number): Promise<void> {
    await Promise.allSettled(Array.from({ length: count }, () => this.#http.request('GET', '/healthz')));
  }

  /** Calls `onAnswer` exactly once, with the answer or the error. */
  buy(userId: string, onAnswer: OnAnswer): void {
    // Our own ids need no escaping.
    this.#http.post(this.#path, `{"userId":"${userId}"}`, ({ status, retryAfter, text, waitedMs }) =>
      onAnswer(
        status === 0 ? { outcome: 'error', lost: true, message: text } : readAnswer(status, retryAfter, text),
        waitedMs,
      ),
    );
  }

  /** Ends every connection; requests under way are answered with an error. */
  close(): Promise<void> {
    return this.#http.close();
  }
}

/** What an answer says. Rejections are told by the problem's name, without parsing the rest. */
export function readAnswer(status: number, retryAfter: unknown, body: string): PurchaseAnswer {
  if (status === 202 || status === 200) return ticketOf(status, body) ?? unexpected(status, body);
  const retryAfterMs = typeof retryAfter === 'string' && /^\d{1,6}$/.test(retryAfter) ? +retryAfter * 1_000 : undefined;
  if (status === 429 && body.includes('/problems/queue-full')) return { outcome: 'queue-full', retryAfterMs };
  if (status === 409 && body.includes('/problems/sold-out')) return { outcome: 'sold-out', retryAfterMs };
  if (status === 409 && body.includes('/problems/not-open')) return { outcome: 'not-open', retryAfterMs };
  if (status === 503) return { outcome: 'overloaded', retryAfterMs };
  return unexpected(status, body);
}

function ticketOf(status: number, body: string): PurchaseAnswer | undefined {
  try {
    const { ticketId, position } = JSON.parse(body) as Record<string, unknown>;
    if (typeof ticketId !== 'string' || typeof position !== 'number') return undefined;
    return { outcome: status === 202 ? 'admitted' : 'already', ticketId, position };
  } catch {
    return undefined;
  }
}

const unexpected = (status: number, body: string): PurchaseAnswer => ({
  outcome: 'error',
  lost: status >= 500,
  message: `unexpected answer: ${status} ${body.slice(0, 200)}`,
});
