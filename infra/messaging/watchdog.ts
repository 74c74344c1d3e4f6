// Watches that a consumer with a backlog makes progress. Clients of brokers can fall silent while they look connected:
// only progress proves life. A silent consumer is rebuilt; where that does not help, the process says it is not healthy
// and is restarted from outside.
import type { Logger } from 'pino';
import type { Subscription } from '../bus/port.ts';
import { type Database, DatabaseUnavailable } from '../database/port.ts';
import { Loop } from '../loop.ts';
import type { Inbox } from './inbox.ts';

/** Rebuilds without progress after which the process is not healthy. */
const MAX_REBUILDS = 3;

export interface WatchdogOptions {
  readonly database: Database;
  readonly inbox: Inbox;
  readonly subscription: Subscription;
  /** A backlog without progress for this long is a silence. */
  readonly silenceMs: number;
  readonly log: Logger;
  readonly onRebuild?: () => void;
}

export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #loop: Loop;
  #backlog: number | null = null;
  #rebuilds = 0;
  /** Since when there has been a backlog and no progress; undefined: all is well. */
  #silentSince: number | undefined;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    const everyMs = Math.min(5_000, options.silenceMs / 3);
    this.#loop = new Loop({ name: 'watchdog', everyMs, log: options.log, turn: () => this.#look() });
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  /** Messages that wait or are under way, as last seen; null before the first look. */
  get backlog(): number | null {
    return this.#backlog;
  }

  get healthy(): boolean {
    return this.#rebuilds <= MAX_REBUILDS;
  }

  async #look(): Promise<boolean> {
    const { database, inbox, subscription, silenceMs, log, onRebuild } = this.#options;
    let due: number;
    try {
      due = await inbox.rows.due(database);
    } catch (error) {
      // Without the database there can be no progress, and no consumer is to blame.
      if (error instanceof DatabaseUnavailable) this.#silentSince = undefined;
      throw error;
    }
    const atBroker = (await subscription.backlog()) ?? 0;
    this.#backlog = due + atBroker + inbox.running;

    const now = performance.now();
    const progressed = this.#silentSince !== undefined && inbox.lastProgress > this.#silentSince;
    if (this.#backlog === 0 || progressed || this.#silentSince === undefined) {
      this.#silentSince = this.#backlog === 0 ? undefined : now;
      if (this.#backlog === 0 || progressed) this.#rebuilds = 0;
      return false;
    }
    if (now - this.#silentSince < silenceMs) return false;

    this.#silentSince = now;
    this.#rebuilds++;
    log.error({ backlog: this.#backlog, silentMs: silenceMs, rebuilds: this.#rebuilds }, 'no progress: rebuilding');
    onRebuild?.();
    await subscription.rebuild();
    inbox.wake();
    return false;
  }
}
