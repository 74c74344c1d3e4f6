// Tells a consumer that has fallen silent from one that has nothing to do. Clients of brokers and queues can fall silent
// while they look connected: only progress proves life.

/** Rebuilds without progress after which rebuilding is known not to help. */
const MAX_REBUILDS = 3;

export class Silence {
  readonly #silenceMs: number;
  /** What stood for the progress at the last look. */
  #mark: number | undefined;
  /** Since when there has been a backlog and no progress; undefined: all is well, or nobody is to blame. */
  #since: number | undefined;
  #rebuilds = 0;

  /** A backlog without progress for this long is a silence. */
  constructor(silenceMs: number) {
    this.#silenceMs = silenceMs;
  }

  /** Rebuilds since there was progress. */
  get rebuilds(): number {
    return this.#rebuilds;
  }

  /** False where rebuilding did not help, until there is progress or nothing left to do. */
  get healthy(): boolean {
    return this.#rebuilds <= MAX_REBUILDS;
  }

  /**
   * To be called every third of the silence, or more often. `mark` is any number that progress changes. `backlog`
   * undefined: not known, so nobody can be blamed now. Answers whether the consumer is to be rebuilt, and counts that.
   */
  look(backlog: number | undefined, mark: number): boolean {
    const now = performance.now();
    const progressed = this.#mark !== undefined && mark !== this.#mark;
    this.#mark = mark;
    if (backlog === 0 || progressed) this.#rebuilds = 0;
    if (progressed || !backlog) {
      this.#since = backlog ? now : undefined;
      return false;
    }
    this.#since ??= now;
    if (now - this.#since < this.#silenceMs) return false;
    this.#since = now;
    this.#rebuilds++;
    return true;
  }

  /** What the consumer needs is away: the time until it is back does not count. */
  excuse(): void {
    this.#since = undefined;
  }
}
