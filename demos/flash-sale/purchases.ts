// POST /flash-sales/:id/purchases, thousands of times and at little cost, because this process shares the machine with
// the system that it visits. The connections are bounded; further requests wait here.
import { purchase } from '../../contracts/flash-sales.ts';
import { HttpClient } from '../shared/http.ts';
import { retryAfterOf } from '../shared/orders.ts';

/**
 * The outcomes as the terminal and the report name them. `already-admitted`: the buyer's live ticket again. `overloaded`:
 * 503, a retry tells whether there is a ticket. `error`: any other response, or none.
 */
export const outcomeNames = {
  admitted: 'admitted',
  'already-admitted': 'already admitted',
  'queue-full': 'queue full',
  'sold-out': 'sold out',
  'not-open': 'not open',
  overloaded: 'overloaded',
  error: 'error',
};
export type PurchaseOutcome = keyof typeof outcomeNames;
export const purchaseOutcomes = Object.keys(outcomeNames) as PurchaseOutcome[];

/** The outcomes whose response has no ticket: the rejections, and 503, which is no decision. */
export const outcomesWithoutTicket = ['queue-full', 'sold-out', 'not-open', 'overloaded'] as const;

export type PurchaseResponse =
  | { readonly outcome: 'admitted' | 'already-admitted'; readonly ticketId: string; readonly position: number }
  | { readonly outcome: (typeof outcomesWithoutTicket)[number]; readonly retryAfterMs: number | undefined }
  /** `lost`: the decision is unknown, and a retry is safe. */
  | { readonly outcome: 'error'; readonly lost: boolean; readonly message: string };

export const CONNECTIONS = 512;

export class PurchaseClient extends HttpClient {
  readonly #tokens: ReadonlyMap<string, string> | undefined;

  /** `tokens`: of the buyers; undefined: the server wants none. */
  constructor(url: string, connections: number, tokens?: ReadonlyMap<string, string>) {
    super(url, connections);
    this.#tokens = tokens;
  }

  /**
   * Opens connections, like those of buyers who open the page before the sale opens: a flooded server accepts new
   * ones slowly. Resolves when all are open, or could not be opened.
   */
  async connect(count: number): Promise<void> {
    await Promise.allSettled(Array.from({ length: count }, () => this.call('GET /healthz', {})));
  }

  /**
   * Calls `onResponse` exactly once, with the response or the error. `waitedMs`: how long it waited for a connection.
   */
  buy(saleId: string, userId: string, onResponse: (response: PurchaseResponse, waitedMs: number) => void): void {
    // Our own ids need no escaping.
    this.post(
      `/flash-sales/${saleId}/purchases`,
      `{"userId":"${userId}"}`,
      ({ status, retryAfter, text, waitedMs }) => onResponse(readResponse(status, retryAfter, text), waitedMs),
      this.#tokens?.get(userId),
    );
  }
}

/**
 * Rejections are recognised by the problem's name, without parsing the rest. Status 0: no response, for this reason.
 */
export function readResponse(status: number, retryAfter: unknown, body: string): PurchaseResponse {
  if (status === 0) return { outcome: 'error', lost: true, message: body };
  if (status === 202 || status === 200) return ticketOf(status, body) ?? unexpected(status, body);
  const retryAfterMs = retryAfterOf(retryAfter);
  if (status === 429 && body.includes('/problems/queue-full')) return { outcome: 'queue-full', retryAfterMs };
  if (status === 409 && body.includes('/problems/sold-out')) return { outcome: 'sold-out', retryAfterMs };
  if (status === 409 && body.includes('/problems/not-open')) return { outcome: 'not-open', retryAfterMs };
  if (status === 503) return { outcome: 'overloaded', retryAfterMs };
  return unexpected(status, body);
}

function ticketOf(status: number, body: string): PurchaseResponse | undefined {
  try {
    const { success, data } = purchase.safeParse(JSON.parse(body));
    return success ? { ...data, outcome: status === 202 ? 'admitted' : 'already-admitted' } : undefined;
  } catch {
    return undefined;
  }
}

const unexpected = (status: number, body: string): PurchaseResponse => ({
  outcome: 'error',
  lost: status >= 500,
  message: `unexpected response: ${status} ${body.slice(0, 200)}`,
});
