// Watches that a consumer with a backlog makes progress. Rebuilds one that does not; if that does not help, the process
// reports itself unhealthy, so that its supervisor restarts it.
import type { Logger } from 'pino';
import type { Subscription } from '../bus/port.ts';
import { DatabaseUnavailable } from '../database/port.ts';
import { Loop } from '../runtime/loop.ts';
import { unlessAborted, within } from '../runtime/promises.ts';
import { integer, variable } from '../runtime/settings.ts';
import { StallDetector } from '../runtime/stall-detector.ts';
import type { Inbox } from './inbox.ts';

export const watchdogSettings = {
  WATCHDOG_MS: variable(
    integer(100, 3_600_000),
    '30000',
    'A consumer with a backlog is rebuilt if it processes nothing for this long.',
  ),
};

/** The broker's time for each request. A rebuild that takes longer continues in the background. */
const BROKER_WITHIN_MS = 10_000;

export interface WatchdogOptions {
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
  readonly #stopping = new AbortController();
  #backlog: { readonly messages: number; readonly at: number } | undefined;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#stalls = new StallDetector(options.stallMs);
    this.#everyMs = Math.min(5_000, options.stallMs / 3);
    const { log } = options;
    this.#loop = new Loop({ name: 'watchdog', everyMs: this.#everyMs, log, turn: () => this.#check() });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
    this.#backlog = undefined;
  }

  /** Messages that wait or are being processed; null while the database or the broker cannot count them. */
  get backlog(): number | null {
    if (!this.#backlog) return null;
    // A check that hangs leaves the count of the one before.
    const isStale = performance.now() - this.#backlog.at > BROKER_WITHIN_MS + 2 * this.#everyMs;
    return isStale ? null : this.#backlog.messages;
  }

  get healthy(): boolean {
    return this.#stalls.healthy;
  }

  async #check(): Promise<void> {
    const { inbox, subscription, stallMs, log, onRebuild } = this.#options;
    const here = await inbox.backlog().catch((error) => {
      this.#backlog = undefined;
      // Without the database there can be no progress, and no consumer is to blame.
      if (error instanceof DatabaseUnavailable) this.#stalls.reset();
      throw error;
    });
    const atBroker = await this.#bounded(subscription.backlog());
    this.#backlog = atBroker === undefined ? undefined : { messages: here + atBroker, at: performance.now() };

    const atLeast = here + (atBroker ?? 0);
    const isKnown = atBroker !== undefined || here > 0;
    // A fault that the broker or the database reports: neither rebuilding nor a restart would mend it.
    if (inbox.rejectedWithin(stallMs) || subscription.health().status === 'down') this.#stalls.reset();
    if (!this.#stalls.check(isKnown ? atLeast : undefined, inbox.lastProgress ?? 0)) return;
    const { rebuilds } = this.#stalls;
    log.error({ backlog: this.backlog, atLeast, stallMs, rebuilds }, 'no progress: rebuilding');
    onRebuild?.();
    if (this.#stopping.signal.aborted) return;
    await this.#bounded(subscription.rebuild());
    inbox.wake();
  }

  /** A broker that hangs must not stop the watchdog, too, and must not delay a stop. */
  #bounded<T>(request: Promise<T>): Promise<T | undefined> {
    const { signal } = this.#stopping;
    return within(BROKER_WITHIN_MS, unlessAborted(signal, request)).catch((error) => {
      if (!signal.aborted)
        this.#options.log.warn({ error: String(error) }, 'the broker did not respond to the watchdog');
      return undefined;
    });
  }
}
