// Counts rejections, and adds them to the database now and then, best-effort: a crash loses those since the last time.
// Each sale by itself: one whose counts cannot be written, or whose write hangs, holds up no other.
import type { Logger } from 'pino';
import { type Rejection, rejections } from '../../contracts/flash-sales.ts';
import type { Database } from '../../infra/database/port.ts';
import { backoff } from '../../infra/runtime/backoff.ts';
import { within } from '../../infra/runtime/promises.ts';
import { addRejections } from './store/sales.ts';

const RETRY_BASE_MS = 250;
const RETRY_MAX_MS = 10_000;
/** Sales whose counts wait, at most: beyond, those that have waited longest are lost. */
const MAX_SALES = 1_000;
/** A stop waits for a write that hangs no longer than this. */
const STOP_MS = 1_000;
/** A failure is logged this often at most. */
const WARN_MS = 10_000;

type Counts = Record<Rejection, number>;

interface Uncounted {
  counts: Counts;
  failures: number;
  /** By performance.now(). */
  dueAt: number;
  writing: boolean;
}

export class RejectionCounter {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #sales = new Map<string, Uncounted>();
  readonly #writes = new Set<Promise<void>>();
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(database: Database, log: Logger) {
    this.#database = database;
    this.#log = log;
  }

  /** The sale must exist. */
  add(saleId: string, reason: Rejection): void {
    let sale = this.#sales.get(saleId);
    if (!sale) {
      this.#makeRoom();
      sale = { counts: none(), failures: 0, dueAt: 0, writing: false };
      this.#sales.set(saleId, sale);
    }
    sale.counts[reason]++;
  }

  /** Begins to write what is due, and waits for none of it. */
  flush(now = performance.now()): void {
    for (const [saleId, sale] of this.#sales) {
      if (sale.writing || sale.dueAt > now) continue;
      const write = this.#write(saleId, sale).finally(() => this.#writes.delete(write));
      this.#writes.add(write);
    }
  }

  /** Tries everything once more. What cannot be written soon is lost. */
  async stop(): Promise<void> {
    await this.#written();
    this.flush(Number.POSITIVE_INFINITY);
    await this.#written();
  }

  async #written(): Promise<void> {
    await within(STOP_MS, Promise.all(this.#writes)).catch(() => undefined);
  }

  /** Never rejects. */
  async #write(saleId: string, sale: Uncounted): Promise<void> {
    const { counts } = sale;
    sale.counts = none();
    sale.writing = true;
    try {
      await addRejections(this.#database, saleId, counts);
      sale.failures = 0;
      if (rejections.every((reason) => sale.counts[reason] === 0)) this.#sales.delete(saleId);
    } catch (error) {
      for (const reason of rejections) sale.counts[reason] += counts[reason];
      sale.failures++;
      sale.dueAt = performance.now() + backoff(sale.failures, RETRY_BASE_MS, RETRY_MAX_MS);
      this.#warn(
        { sale: saleId, failures: sale.failures, error: String(error) },
        'rejections not counted, trying again',
      );
    } finally {
      sale.writing = false;
    }
  }

  #makeRoom(): void {
    if (this.#sales.size < MAX_SALES) return;
    for (const [saleId, { counts }] of this.#sales) {
      this.#sales.delete(saleId);
      this.#warn({ sale: saleId, counts }, 'too many sales cannot be counted: the rejections of one are lost');
      return;
    }
  }

  #warn(about: object, message: string): void {
    if (performance.now() - this.#warnedAt < WARN_MS) return;
    this.#warnedAt = performance.now();
    this.#log.warn(about, message);
  }
}

const none = (): Counts => ({ 'not-open': 0, 'sold-out': 0, 'queue-full': 0 });
