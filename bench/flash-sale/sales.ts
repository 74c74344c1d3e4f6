// The sales that are flooded, and their state as anyone reads it.
import { setTimeout as delay } from 'node:timers/promises';
import type { CreateFlashSaleRequest } from '../../contracts/flash-sales.ts';
import { readSale } from '../../demos/shared/flash-sales.ts';
import type { HttpClient } from '../../demos/shared/http.ts';

const POLL_MS = 200;
const SETTLED_WITHIN_MS = 60_000;

/** Tickets that leave a queue in a second, in every sale. */
export const PACE = 100;

const plenty = 1_000_000_000;

/** Its queue is full as long as the flood lasts, and goes on draining. */
export const full = { stock: plenty, queueCap: 200 };
/** Sold out as soon as the flood begins. */
export const soldOut = { stock: 50, queueCap: 200 };
/** Room for everyone: the queue is longer than any flood. */
export const unbounded = { stock: plenty, queueCap: 1_000_000 };

/** A sale of these terms, to be flooded. */
export const termsOf = ({ stock, queueCap }: typeof full): Omit<CreateFlashSaleRequest, 'holdSeconds'> => ({
  sku: 'SKU-1',
  name: 'White hanging heart T-light holder',
  unitPrice: 100,
  currency: 'GBP',
  stock,
  queueCap,
  drainPerSecond: PACE,
});

/** Resolves when every ticket of these sales has its order. */
export async function untilOrdered(http: HttpClient, saleIds: readonly string[]): Promise<void> {
  const deadline = performance.now() + SETTLED_WITHIN_MS;
  for (const id of saleIds) {
    for (;;) {
      const { counts, stock, queue } = await readSale(http, id);
      if (counts.ordered === counts.admitted) break;
      if (performance.now() > deadline)
        throw new Error(
          `of ${counts.admitted} tickets, ${queue.length} are queued and ${stock.held} held after ${SETTLED_WITHIN_MS} ms`,
        );
      await delay(POLL_MS);
    }
  }
}
