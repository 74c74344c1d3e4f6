// Distinguishes a stalled consumer from an idle one. A client of a broker or queue can stop receiving while its
// connection still looks healthy: only progress shows that it works.

/** If this many rebuilds bring no progress, rebuilding does not help. */
const MAX_REBUILDS = 3;

export class StallDetector {
  readonly #stallMs: number;
  /** The progress mark at the last check. */
  #mark: number | undefined;
  /** Since when there has been a backlog without progress; undefined while the consumer is not suspected. */
  #since: number | undefined;
  #rebuilds = 0;

  /** A consumer is stalled when it has had a backlog and made no progress for `stallMs`. */
  constructor(stallMs: number) {
    this.#stallMs = stallMs;
  }

  /** Rebuilds since the last progress. */
  get rebuilds(): number {
    return this.#rebuilds;
  }

  /** False after MAX_REBUILDS rebuilds in vain, until there is progress or no backlog. */
  get healthy(): boolean {
    return this.#rebuilds <= MAX_REBUILDS;
  }

  /**
   * Returns true if the consumer is stalled and must be rebuilt, and counts that rebuild. Call it at least three times
   * per `stallMs`. `mark` is any number that changes with progress; an undefined `backlog` is unknown, and then no
   * stall is detected.
   */
  check(backlog: number | undefined, mark: number): boolean {
    const now = performance.now();
    const progressed = this.#mark !== undefined && mark !== this.#mark;
    this.#mark = mark;
    if (backlog === 0 || progressed) this.#rebuilds = 0;
    if (progressed || !backlog) {
      this.#since = backlog ? now : undefined;
      return false;
    }
    this.#since ??= now;
    if (now - this.#since < this.#stallMs) return false;
    this.#since = now;
    this.#rebuilds++;
    return true;
  }

  /** Restarts the clock: the time for which the consumer's server is away does not count. */
  reset(): void {
    this.#since = undefined;
  }
}
