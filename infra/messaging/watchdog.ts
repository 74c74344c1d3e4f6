// Watches that a consumer with a backlog makes progress. A silent one is rebuilt; where that does not help, the process
// says that it is not healthy and is restarted from outside.
import type { Logger } from 'pino';
import type { Subscription } from '../bus/port.ts';
import { type Database, DatabaseUnavailable } from '../database/port.ts';
import { Loop } from '../runtime/loop.ts';
import { within } from '../runtime/promises.ts';
import { integer, variable } from '../runtime/settings.ts';
import { StallDetector } from '../runtime/stall-detector.ts';
import type { Inbox } from './inbox.ts';

export const watchdogSettings = {
  WATCHDOG_MS: variable(
    integer(100, 3_600_000),
    '30000',
    'A consumer with a backlog that handles nothing for this long is rebuilt.',
  ),
};

/** A rebuild that takes longer goes on by itself. */
const BROKER_WITHIN_MS = 10_000;

export interface WatchdogOptions {
  readonly database: Database;
  readonly inbox: Inbox;
  readonly subscription: Subscription;
  /** A consumer with a backlog and no progress for this long is stalled. */
  readonly stallMs: number;
  readonly log: Logger;
  readonly onRebuild?: () => void;
}

export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #loop: Loop;
  readonly #stalls: StallDetector;
  readonly #everyMs: number;
  #backlog: { readonly messages: number; readonly at: number } | undefined;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#stalls = new StallDetector(options.stallMs);
    this.#everyMs = Math.min(5_000, options.stallMs / 3);
    this.#loop = new Loop({
      name: 'watchdog',
      everyMs: this.#everyMs,
      log: options.log,
      turn: async () => {
        try {
          await this.#check();
        } catch (error) {
          this.#backlog = undefined;
          throw error;
        }
        return false;
      },
    });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    this.#backlog = undefined;
  }

  /** Messages that wait or are under way; null while the database or the broker does not tell. */
  get backlog(): number | null {
    if (!this.#backlog) return null;
    // While a look gets no answer, the count before it says nothing about now.
    const isStale = performance.now() - this.#backlog.at > BROKER_WITHIN_MS + 2 * this.#everyMs;
    return isStale ? null : this.#backlog.messages;
  }

  get healthy(): boolean {
    return this.#stalls.healthy;
  }

  async #check(): Promise<void> {
    const { database, inbox, subscription, stallMs, log, onRebuild } = this.#options;
    let due: number;
    try {
      due = await inbox.rows.due(database);
    } catch (error) {
      // Without the database there can be no progress, and no consumer is to blame.
      if (error instanceof DatabaseUnavailable) this.#stalls.reset();
      throw error;
    }
    const atBroker = await this.#bounded(subscription.backlog());
    const here = due + inbox.running;
    this.#backlog = atBroker === undefined ? undefined : { messages: here + atBroker, at: performance.now() };

    const atLeast = here + (atBroker ?? 0);
    const known = atBroker !== undefined || here > 0;
    if (!this.#stalls.check(known ? atLeast : undefined, inbox.lastProgress ?? 0)) return;
    const { rebuilds } = this.#stalls;
    log.error({ backlog: this.backlog, atLeast, stallMs, rebuilds }, 'no progress: rebuilding');
    onRebuild?.();
    await this.#bounded(subscription.rebuild());
    inbox.wake();
  }

  /** A broker that hangs must not silence the watchdog as well. */
  #bounded<T>(asked: Promise<T>): Promise<T | undefined> {
    return within(BROKER_WITHIN_MS, asked).catch((error) => {
      this.#options.log.warn({ error: String(error) }, 'the broker did not answer the watchdog');
      return undefined;
    });
  }
}
