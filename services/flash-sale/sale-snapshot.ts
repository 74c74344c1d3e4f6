// Rejects a flood of newcomers to one sale from memory, synchronously and without a query, from a snapshot of the
// sale's row and a Bloom filter of everyone who ever got a ticket.
//
// It never admits. It rejects newcomers if the row, as it was at most a second ago, would reject them. If the queue had
// free places, it lets about as many newcomers through to the row, and rejects the others until its next refresh. Buyers
// who hold a ticket as of the snapshot, or got one from this process since, always reach the row. A newcomer that was let
// through and does not reach the row after all, because the process is overloaded, makes room for another one.
//
// While it is in use, the snapshot is refreshed well before it expires; otherwise the whole flood would reach the row
// until the refresh is done. After a short time without requests, it rejects nobody until it has been read again;
// otherwise an outdated snapshot would reject the first buyers of a rush.
import type { Rejection } from '../../contracts/flash-sales.ts';
import { addUser, type BloomFilter, createBloomFilter, mayContain } from './bloom-filter.ts';
import { attemptsFor, freshForMs, keptForMs, rejectionOf, type Snapshot } from './flash-sale.ts';
import type { Peek } from './store/sales.ts';

interface SaleSnapshotOptions {
  /** Reads the sale and the users of the tickets after number `after`; undefined if there is no such sale. */
  readonly peek: (after: number) => Promise<Peek | undefined>;
  /** A refresh in the background failed; the row decides until one succeeds. */
  readonly onError: (error: unknown) => void;
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

export class SaleSnapshot {
  readonly #options: SaleSnapshotOptions;
  readonly #now: () => number;
  /** The last one that was read; kept for Retry-After when it may no longer reject. */
  #latest: Snapshot | undefined;
  /** A time before #latest was read. */
  #readAt = 0;
  /** False after an idle time, and while holders of tickets are unknown. */
  #mayReject = false;
  #attemptsLeft = 0;
  /** Requests that took an attempt of this snapshot. */
  #attempts = new WeakSet<object>();
  /** Every user who got one of the tickets up to number #lastTicket. */
  #holders: BloomFilter | undefined;
  #lastTicket = 0;
  #refreshing: Promise<void> | undefined;
  #usedAt: number;

  constructor(options: SaleSnapshotOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#usedAt = this.#now();
  }

  /** Time since the last request, in milliseconds. */
  get idleMs(): number {
    return this.#now() - this.#usedAt;
  }

  /** The last snapshot, of any age; undefined until the sale is known to exist. */
  get latest(): Snapshot | undefined {
    return this.#latest;
  }

  /**
   * Why a buyer gets no ticket; undefined if the row has to decide. A newcomer that this snapshot lets through uses up
   * one of its attempts (see attemptsFor). `request`: for returnAttempt().
   */
  reject(userId: string, request?: object): Rejection | undefined {
    const now = this.#now();
    if (this.#latest && now - this.#usedAt >= keptForMs(this.#latest)) this.#mayReject = false;
    this.#usedAt = now;
    if (!this.#isFresh(now) && !this.#refreshing) this.#refresh().catch(this.#options.onError);
    if (!this.#latest || !this.#mayReject || !this.#holders || mayContain(this.#holders, userId)) return undefined;
    const rejection = rejectionOf(this.#latest, now - this.#readAt, this.#attemptsLeft);
    if (!rejection) {
      this.#attemptsLeft--;
      if (request) this.#attempts.add(request);
    }
    return rejection;
  }

  /** The row will not decide about a request after all. Does nothing if it took no attempt of the latest snapshot. */
  returnAttempt(request: object): void {
    if (this.#attempts.delete(request)) this.#attemptsLeft++;
  }

  /** A user got a ticket from this process. A refresh under way may have read the sale before that. */
  addHolder(userId: string): void {
    if (this.#holders) addUser(this.#holders, userId);
  }

  /** The latest snapshot, read again if it is not fresh. The promise rejects if the sale has never been read and cannot be. */
  async read(): Promise<Snapshot | undefined> {
    if (!this.#isFresh(this.#now())) {
      await this.#refresh().catch((error) => {
        if (!this.#latest) throw error;
      });
    }
    return this.#latest;
  }

  #isFresh(now: number): boolean {
    return this.#mayReject && this.#latest !== undefined && now - this.#readAt < freshForMs(this.#latest);
  }

  #refresh(): Promise<void> {
    this.#refreshing ??= this.#readAll().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** Reads page after page of new tickets; each page holds more than all web processes admit meanwhile. */
  async #readAll(): Promise<void> {
    for (;;) {
      const readAt = this.#now();
      const peek = await this.#options.peek(this.#lastTicket);
      if (!peek) return;
      const { stock, admitted, users, ...snapshot } = peek;
      this.#holders ??= createBloomFilter(stock);
      for (const user of users) addUser(this.#holders, user);
      this.#lastTicket += users.length; // the numbers have no gaps
      // Rejections need every holder up to this moment. If the table lacks tickets, the row decides about everyone.
      const knowsAllHolders = this.#lastTicket >= admitted;
      if (!knowsAllHolders && users.length > 0) continue;
      this.#latest = snapshot;
      this.#readAt = readAt;
      this.#mayReject = knowsAllHolders;
      this.#attemptsLeft = attemptsFor(snapshot);
      this.#attempts = new WeakSet();
      return;
    }
  }
}
