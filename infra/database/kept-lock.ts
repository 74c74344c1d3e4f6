// A lock that is kept for as long as it is wanted: when it is lost, it is taken again as soon as nobody else has it.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database, Lock } from './port.ts';

const RETRY_MS = 1_000;

export class KeptLock {
  readonly #database: Pick<Database, 'tryLock'>;
  readonly #name: string;
  readonly #log: Logger;
  readonly #releasing = new AbortController();
  readonly #released: Promise<undefined>;
  #lock: Lock | undefined;
  #keeping: Promise<void> | undefined;

  constructor(database: Pick<Database, 'tryLock'>, name: string, log: Logger) {
    this.#database = database;
    this.#name = name;
    this.#log = log;
    const { signal } = this.#releasing;
    this.#released = new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined)));
  }

  /** What the lock protects may go on only while this is true. */
  get held(): boolean {
    return this.#lock !== undefined;
  }

  /** Answers false, and keeps nothing, when another process has the lock. */
  async take(): Promise<boolean> {
    this.#lock = await this.#database.tryLock(this.#name);
    if (this.#lock) this.#keeping = this.#keep(this.#lock);
    return this.held;
  }

  async release(): Promise<void> {
    this.#releasing.abort();
    await this.#keeping;
    await this.#lock?.release();
    this.#lock = undefined;
  }

  async #keep(taken: Lock): Promise<void> {
    const { signal } = this.#releasing;
    for (let lock: Lock | undefined = taken; lock; lock = await this.#takeAgain()) {
      this.#lock = lock;
      await Promise.race([lock.lost, this.#released]);
      if (signal.aborted) return;
      this.#lock = undefined;
      this.#log.warn({ lock: this.#name }, 'lock lost');
    }
  }

  async #takeAgain(): Promise<Lock | undefined> {
    const { signal } = this.#releasing;
    while (!signal.aborted) {
      const lock = await this.#database.tryLock(this.#name).catch(() => undefined); // the database is away
      if (lock) {
        this.#log.info({ lock: this.#name }, 'lock taken again');
        return lock;
      }
      await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
    return undefined;
  }
}
