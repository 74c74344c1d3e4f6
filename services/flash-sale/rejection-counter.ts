// Counts rejections in memory and adds them to the database now and then, best-effort: a crash loses the last ones.
// Sales are written independently: a write that fails or hangs delays no other sale.
import type { Logger } from 'pino';
import { type Rejection, rejections } from '../../contracts/flash-sales.ts';
import type { Database } from '../../infra/database/port.ts';
import { backoff } from '../../infra/runtime/backoff.ts';
import { PendingSet } from '../../infra/runtime/collections.ts';
import { FailureStreak } from '../../infra/runtime/failure-streak.ts';
import { within } from '../../infra/runtime/promises.ts';
import { ThrottledLog } from '../../infra/runtime/throttled-log.ts';
import { addRejections } from './store/sales.ts';

const RETRY_BASE_MS = 250;
const RETRY_MAX_MS = 10_000;
/** Sales with counts that are not written yet; beyond that, the counts that have waited longest are lost. */
const MAX_SALES = 1_000;
/** How long a stop waits for writes that hang. */
const STOP_MS = 1_000;

type Counts = Record<Rejection, number>;

interface Unwritten {
  counts: Counts;
  failures: number;
  /** By performance.now(). */
  dueAt: number;
  isWriting: boolean;
}

export class RejectionCounter {
  readonly #database: Database;
  readonly #log: ThrottledLog;
  readonly #failures: FailureStreak;
  readonly #sales = new Map<string, Unwritten>();
  readonly #writes = new PendingSet();

  constructor(database: Database, log: Logger) {
    this.#database = database;
    this.#log = new ThrottledLog(log);
    this.#failures = new FailureStreak({ name: 'write rejections', log });
  }

  /** The sale must exist. */
  add(saleId: string, reason: Rejection): void {
    let sale = this.#sales.get(saleId);
    if (!sale) {
      if (this.#sales.size >= MAX_SALES) this.#dropOldest();
      sale = { counts: none(), failures: 0, dueAt: 0, isWriting: false };
      this.#sales.set(saleId, sale);
    }
    sale.counts[reason]++;
  }

  /** Starts to write the counts that are due, without waiting for the writes. */
  flush(now = performance.now()): void {
    for (const [saleId, sale] of this.#sales) {
      if (!sale.isWriting && sale.dueAt <= now) void this.#writes.add(this.#write(saleId, sale));
    }
  }

  /** Tries to write all counts once more; those that fail or hang are lost. */
  async stop(): Promise<void> {
    await this.#settleWrites();
    this.flush(Number.POSITIVE_INFINITY);
    await this.#settleWrites();
    this.#failures.end();
  }

  async #settleWrites(): Promise<void> {
    await within(STOP_MS, this.#writes.settled()).catch(() => undefined);
  }

  /** Never rejects. */
  async #write(saleId: string, sale: Unwritten): Promise<void> {
    const { counts } = sale;
    sale.counts = none();
    sale.isWriting = true;
    try {
      await addRejections(this.#database, saleId, counts);
      sale.failures = 0;
      this.#failures.succeeded();
      if (rejections.every((reason) => sale.counts[reason] === 0)) this.#sales.delete(saleId);
    } catch (error) {
      for (const reason of rejections) sale.counts[reason] += counts[reason];
      sale.failures++;
      sale.dueAt = performance.now() + backoff(sale.failures, RETRY_BASE_MS, RETRY_MAX_MS);
      this.#failures.failed(error, { sale: saleId });
    } finally {
      sale.isWriting = false;
    }
  }

  #dropOldest(): void {
    const [oldest] = this.#sales;
    if (!oldest) return;
    const [saleId, { counts }] = oldest;
    this.#sales.delete(saleId);
    this.#log.warn({ sale: saleId, counts }, 'too many sales with unstored rejections, those of the oldest are lost');
  }
}

const none = (): Counts => ({ 'not-open': 0, 'sold-out': 0, 'queue-full': 0 });
