// A session lock that can be acquired again after its connection is lost, once no other process holds it.
import type { Logger } from 'pino';
import type { Database, Lock } from './port.ts';

/** Pause between two attempts; each one costs a connection. */
const RETRY_MS = 1_000;

interface ResilientLockOptions {
  readonly database: Pick<Database, 'tryLock'>;
  readonly name: string;
  /** Another process may get the lock soon, so the work that it protects must stop at once. */
  readonly onLost?: () => void;
  readonly log: Logger;
}

export class ResilientLock {
  readonly #options: ResilientLockOptions;
  #lock: Lock | undefined;
  #triedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ResilientLockOptions) {
    this.#options = options;
  }

  /** The protected work may continue only while this is true. */
  get held(): boolean {
    return this.#lock !== undefined;
  }

  assertHeld(): void {
    if (!this.held) throw new Error(`the lock '${this.#options.name}' is lost`);
  }

  /** Resolves with whether the lock is held. Makes at most one attempt a second. */
  async tryAcquire(): Promise<boolean> {
    if (this.held) return true;
    if (performance.now() - this.#triedAt < RETRY_MS) return false;
    this.#triedAt = performance.now();
    const { database, name, onLost, log } = this.#options;
    const lock = await database.tryLock(name);
    if (!lock) return false;
    this.#lock = lock;
    void lock.lost.then(() => {
      if (this.#lock !== lock) return;
      this.#lock = undefined;
      log.warn({ lock: name }, 'lock lost');
      onLost?.();
    });
    return true;
  }

  async release(): Promise<void> {
    const lock = this.#lock;
    this.#lock = undefined;
    await lock?.release();
  }
}
