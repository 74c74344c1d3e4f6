// Places the invoices as orders: at their pace, a bounded number at a time, each until it is answered or given up.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Order } from '../../contracts/orders.ts';
import { backoff } from '../../infra/runtime/backoff.ts';
import { concurrently } from '../shared/concurrently.ts';
import type { HttpClient } from '../shared/http.ts';
import { placeOrder } from '../shared/orders.ts';
import type { Invoice } from './invoices.ts';

/** What became of an invoice. */
export type Placement =
  | { readonly kind: 'ordered'; readonly order: Order; readonly replayed: boolean; readonly invoice: Invoice }
  | { readonly kind: 'rejected' | 'failed'; readonly reason: string; readonly invoice: Invoice };

export interface PlaceOptions {
  readonly http: HttpClient;
  readonly currency: string;
  /** How many times faster than the invoices were written; undefined: as fast as they are accepted. */
  readonly speed: number | undefined;
  readonly concurrency: number;
  /** An invoice that gets no answer for this long is given up. */
  readonly retryMs: number;
  readonly signal: AbortSignal;
}

const BACKOFF_BASE_MS = 100;
const BACKOFF_MAX_MS = 5_000;
/** The longest that one timer waits (Node's own limit is 24.8 days); a longer gap takes several. */
const LONGEST_SLEEP_MS = 3_600_000;

/** Calls `onPlaced` once for each invoice, in the order of the answers. Rejects when `signal` aborts. */
export async function placeAll(
  invoices: readonly Invoice[],
  options: PlaceOptions,
  onPlaced: (placement: Placement) => void,
): Promise<void> {
  const failures = new Failures();
  const startedAt = performance.now();
  const firstAt = invoices[0]?.at ?? 0;
  // Whoever is free takes the next invoice and waits until it is due: they start in order, and those that are late
  // (because all were busy) start at once.
  await concurrently(invoices, options.concurrency, options.signal, async (invoice, signal) => {
    if (options.speed !== undefined) await until(startedAt + (invoice.at - firstAt) / options.speed, signal);
    onPlaced(await place(invoice, { ...options, signal }, failures));
  });
}

/** Asks under the same key until there is an answer, so that a lost one never makes a second order. */
async function place(invoice: Invoice, options: PlaceOptions, failures: Failures): Promise<Placement> {
  const { http, currency, signal, retryMs } = options;
  const body = { userId: invoice.userId, currency, items: invoice.items };
  const startedAt = performance.now();
  for (let attempt = 1; ; attempt++) {
    const answer = await placeOrder(http, body, { key: invoice.number, signal });
    if (answer.kind !== 'unavailable') failures.over();
    if (answer.kind === 'placed') return { kind: 'ordered', order: answer.order, replayed: answer.replayed, invoice };
    if (answer.kind === 'rejected') return { kind: 'rejected', reason: answer.title, invoice };
    const giveUpAt = Math.min(startedAt, failures.since()) + retryMs;
    const retryAt = performance.now() + (answer.retryAfterMs ?? backoff(attempt, BACKOFF_BASE_MS, BACKOFF_MAX_MS));
    if (retryAt >= giveUpAt) return { kind: 'failed', reason: answer.reason, invoice };
    await until(retryAt, signal);
  }
}

/** Since when nothing has been answered, by all invoices together: a server that is gone is waited for once, not once
 *  for each invoice. */
class Failures {
  #since: number | undefined;
  since(): number {
    this.#since ??= performance.now();
    return this.#since;
  }
  over(): void {
    this.#since = undefined;
  }
}

async function until(time: number, signal: AbortSignal): Promise<void> {
  for (let ms = time - performance.now(); ms > 0; ms = time - performance.now())
    await sleep(Math.min(ms, LONGEST_SLEEP_MS), undefined, { signal });
}
