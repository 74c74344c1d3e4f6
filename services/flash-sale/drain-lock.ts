// The lock of the process that drains, for queues that only one process may drain at a time.
import type { Logger } from 'pino';
import type { Database, Lock } from '../../infra/database/port.ts';

const NAME = 'sluice flash-sale drain';
/** Pause between attempts of a standby process; each attempt costs a connection. */
const RETRY_MS = 1_000;

export class DrainLock {
  readonly #database: Pick<Database, 'tryLock'>;
  readonly #onLost: () => void;
  readonly #log: Logger;
  #lock: Lock | undefined;
  #triedAt = Number.NEGATIVE_INFINITY;

  /** `onLost`: another process may get the lock soon, so everything that it protects must stop at once. */
  constructor(database: Pick<Database, 'tryLock'>, onLost: () => void, log: Logger) {
    this.#database = database;
    this.#onLost = onLost;
    this.#log = log;
  }

  get held(): boolean {
    return this.#lock !== undefined;
  }

  assertHeld(): void {
    if (!this.held) throw new Error('the lock of the drain is lost');
  }

  /** Resolves with whether the lock is held. Makes at most one attempt a second. */
  async tryAcquire(): Promise<boolean> {
    if (this.held) return true;
    if (performance.now() - this.#triedAt < RETRY_MS) return false;
    this.#triedAt = performance.now();
    const lock = await this.#database.tryLock(NAME);
    if (!lock) return false;
    this.#lock = lock;
    void lock.lost.then(() => {
      if (this.#lock !== lock) return;
      this.#lock = undefined;
      this.#log.warn('the lock of the drain is lost, closing its queues');
      this.#onLost();
    });
    return true;
  }

  async release(): Promise<void> {
    const lock = this.#lock;
    this.#lock = undefined;
    await lock?.release();
  }
}
