// Places the invoices as orders, in time with the file and with bounded concurrency, and retries while the server is
// unavailable.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Order } from '../../contracts/orders.ts';
import { backoff } from '../../infra/runtime/backoff.ts';
import { concurrently } from '../shared/concurrently.ts';
import type { HttpClient } from '../shared/http.ts';
import { placeOrder } from '../shared/orders.ts';
import type { Invoice } from './invoices.ts';

/** The outcome for an invoice. */
export type Placement =
  | { readonly kind: 'ordered'; readonly order: Order; readonly replayed: boolean; readonly invoice: Invoice }
  | { readonly kind: 'rejected' | 'failed'; readonly reason: string; readonly invoice: Invoice };

export interface PlaceOptions {
  readonly http: HttpClient;
  readonly currency: string;
  /** How many times faster than the invoices were written; undefined: as fast as orders are accepted. */
  readonly speed: number | undefined;
  readonly concurrency: number;
  /** An invoice fails if the server is unavailable for this long. */
  readonly retryMs: number;
  readonly signal: AbortSignal;
}

const BACKOFF_BASE_MS = 100;
const BACKOFF_MAX_MS = 5_000;
/** The longest single timer (Node's limit is 24.8 days). A longer wait takes several. */
const LONGEST_SLEEP_MS = 3_600_000;

/** Calls `onPlaced` once for each invoice, in the order of the responses. Rejects when `signal` aborts. */
export async function placeAll(
  invoices: readonly Invoice[],
  options: PlaceOptions,
  onPlaced: (placement: Placement) => void,
): Promise<void> {
  const failures: Failures = { since: undefined };
  const startedAt = performance.now();
  const firstAt = invoices[0]?.at ?? 0;
  // A free worker takes the next invoice and waits until it is due. So invoices start in order, and an invoice that is
  // late because all workers were busy starts at once.
  await concurrently(invoices, options.concurrency, options.signal, async (invoice, signal) => {
    if (options.speed !== undefined) await until(startedAt + (invoice.at - firstAt) / options.speed, signal);
    onPlaced(await place(invoice, { ...options, signal }, failures));
  });
}

/** Retries with the same key while the server is unavailable: a lost response never leads to a second order. */
async function place(invoice: Invoice, options: PlaceOptions, failures: Failures): Promise<Placement> {
  const { http, currency, signal, retryMs } = options;
  const body = { userId: invoice.userId, currency, items: invoice.items };
  const startedAt = performance.now();
  for (let attempt = 1; ; attempt++) {
    const outcome = await placeOrder(http, body, { key: invoice.number, signal });
    failures.since = outcome.kind === 'unavailable' ? (failures.since ?? performance.now()) : undefined;
    if (outcome.kind === 'placed') return { ...outcome, kind: 'ordered', invoice };
    if (outcome.kind === 'rejected') return { kind: 'rejected', reason: outcome.title, invoice };
    const deadline = Math.min(startedAt, failures.since ?? startedAt) + retryMs;
    const retryAt = performance.now() + (outcome.retryAfterMs ?? backoff(attempt, BACKOFF_BASE_MS, BACKOFF_MAX_MS));
    if (retryAt >= deadline) return { kind: 'failed', reason: outcome.reason, invoice };
    await until(retryAt, signal);
  }
}

/** The start of the current failure. All invoices share it, so an unavailable server is waited for only once. */
type Failures = { since: number | undefined };

async function until(time: number, signal: AbortSignal): Promise<void> {
  for (let ms = time - performance.now(); ms > 0; ms = time - performance.now())
    await sleep(Math.min(ms, LONGEST_SLEEP_MS), undefined, { signal });
}
