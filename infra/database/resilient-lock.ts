// A session lock that is reacquired after its connection is lost, as soon as no other process holds it.
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database, Lock } from './port.ts';

const RETRY_MS = 1_000;

export class ResilientLock {
  readonly #database: Pick<Database, 'tryLock'>;
  readonly #name: string;
  readonly #log: Logger;
  readonly #releasing = new AbortController();
  readonly #released = once(this.#releasing.signal, 'abort');
  #lock: Lock | undefined;
  #watching: Promise<void> | undefined;

  constructor(database: Pick<Database, 'tryLock'>, name: string, log: Logger) {
    this.#database = database;
    this.#name = name;
    this.#log = log;
  }

  /** The protected work may continue only while this is true. */
  get held(): boolean {
    return this.#lock !== undefined;
  }

  /** Resolves with false if another process holds the lock; the lock is then not acquired later either. */
  async acquire(): Promise<boolean> {
    this.#lock = await this.#database.tryLock(this.#name);
    if (this.#lock) this.#watching = this.#watch(this.#lock);
    return this.held;
  }

  async release(): Promise<void> {
    this.#releasing.abort();
    await this.#watching;
    await this.#lock?.release();
    this.#lock = undefined;
  }

  async #watch(acquired: Lock): Promise<void> {
    const { signal } = this.#releasing;
    for (let lock: Lock | undefined = acquired; lock; lock = await this.#reacquire()) {
      this.#lock = lock;
      await Promise.race([lock.lost, this.#released]);
      if (signal.aborted) return;
      this.#lock = undefined;
      this.#log.warn({ lock: this.#name }, 'lock lost');
    }
  }

  async #reacquire(): Promise<Lock | undefined> {
    const { signal } = this.#releasing;
    while (!signal.aborted) {
      const lock = await this.#database.tryLock(this.#name).catch(() => undefined); // the database is away
      if (lock) {
        this.#log.info({ lock: this.#name }, 'lock reacquired');
        return lock;
      }
      await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
    return undefined;
  }
}
