// Looks at the sale's books while it runs: for the display, for the charts, and to see when all tickets are done.
import { setTimeout as sleep } from 'node:timers/promises';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { CliError } from '../shared/errors.ts';
import { readSale } from '../shared/flash-sales.ts';
import { HttpClient } from '../shared/http.ts';

const EVERY_MS = 150;
/** A sale that cannot be read for this long is given up. */
const SILENT_FOR_MS = 30_000;

export interface Sample {
  /** After the opening, in milliseconds. */
  readonly atMs: number;
  readonly queue: number;
  readonly admitted: number;
  readonly ordered: number;
}

/** Nothing is queued, and nothing is held for an order. */
export const isSettled = ({ queue, stock }: FlashSale): boolean => queue.length === 0 && stock.held === 0;

export class Watch {
  readonly samples: Sample[] = [];
  readonly #http: HttpClient;
  readonly #openingAt: number;
  #latest: FlashSale;

  /** `openingAt` by performance.now(). On a connection of its own, so that it does not wait behind the buyers. */
  constructor(url: string, sale: FlashSale, openingAt: number) {
    this.#http = new HttpClient(url, 1);
    this.#latest = sale;
    this.#openingAt = openingAt;
  }

  get latest(): FlashSale {
    return this.#latest;
  }

  /** Takes samples until `done` says so, asked after each one: it must come true with time. Rejects where the sale cannot be read for long, and when
   *  `signal` aborts. */
  async until(done: (sale: FlashSale) => boolean, signal: AbortSignal): Promise<void> {
    for (let seenAt = performance.now(); ; ) {
      try {
        await this.look(signal);
        seenAt = performance.now();
        if (done(this.#latest)) return;
      } catch (error) {
        // Overload is part of the show.
        if (!(error instanceof CliError) || performance.now() - seenAt > SILENT_FOR_MS) throw error;
      }
      await sleep(EVERY_MS, undefined, { signal });
    }
  }

  async look(signal: AbortSignal): Promise<FlashSale> {
    this.#latest = await readSale(this.#http, this.#latest.id, signal);
    const { queue, counts } = this.#latest;
    this.samples.push({
      atMs: performance.now() - this.#openingAt,
      queue: queue.length,
      admitted: counts.admitted,
      ordered: counts.ordered,
    });
    return this.#latest;
  }

  close(): Promise<void> {
    return this.#http.close();
  }
}
