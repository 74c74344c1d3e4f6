// Failures in a row of work that is repeated, such as the turns of a loop. From the fifth one on, the work is degraded:
// GET /readyz and GET /metrics report it, even if all its connections stand.
import type { Logger } from 'pino';
import { isLogged } from './backoff.ts';
import { publicReasonOf } from './reason.ts';

/** Fewer may be a passing fault. With the pauses of a loop, five take two to three seconds. */
const DEGRADED_AFTER = 5;

/** The state of work that is degraded. */
export interface FailingWork {
  /** Undefined if the work belongs to no service. */
  readonly service: string | undefined;
  readonly name: string;
  /** In a row. */
  readonly failures: number;
  /** Since the first of them. */
  readonly forMs: number;
  /** The last error, without addresses: see publicReasonOf. */
  readonly error: string;
}

/** The streaks under way in this thread: at most one for each kind of work of each service, and for each job queue. */
const underWay = new Set<FailureStreak>();

export class FailureStreak {
  readonly #name: string;
  readonly #log: Logger;
  #failures = 0;
  #since = 0;
  #lastAt = 0;
  #error: unknown;

  /** The service is the one that `log` names in each line. */
  constructor({ name, log }: { readonly name: string; readonly log: Logger }) {
    this.#name = name;
    this.#log = log;
  }

  /** Failures since the last success. */
  get failures(): number {
    return this.#failures;
  }

  /** Whether the work failed the last time, and less than `ms` ago. */
  failedWithin(ms: number): boolean {
    return this.#failures > 0 && performance.now() - this.#lastAt < ms;
  }

  get isDegraded(): boolean {
    return this.#failures >= DEGRADED_AFTER;
  }

  /** Logs the 1st, 2nd, 4th, 5th, 8th, 16th failure and so on. `about`: more fields for the log. */
  failed(error: unknown, about: object = {}): void {
    this.#lastAt = performance.now();
    if (this.#failures === 0) this.#since = this.#lastAt;
    this.#failures++;
    this.#error = error;
    underWay.add(this);
    const isFirstDegraded = this.#failures === DEGRADED_AFTER;
    if (!isFirstDegraded && !isLogged(this.#failures)) return;
    const streak = { loop: this.#name, failures: this.#failures, forMs: Math.round(performance.now() - this.#since) };
    const message = isFirstDegraded ? 'degraded: fails again and again, retrying' : 'failed, retrying';
    this.#log.warn({ ...streak, ...about, error: String(error) }, message);
  }

  succeeded(): void {
    if (this.#failures === 0) return;
    const forMs = Math.round(performance.now() - this.#since);
    this.#log.info({ loop: this.#name, failures: this.#failures, forMs }, 'succeeds again');
    this.end();
  }

  /** The work has ended: it is no longer reported. */
  end(): void {
    this.#failures = 0;
    underWay.delete(this);
  }

  get state(): FailingWork {
    return {
      service: this.#log.bindings().service as string | undefined,
      name: this.#name,
      failures: this.#failures,
      forMs: performance.now() - this.#since,
      error: publicReasonOf(this.#error),
    };
  }
}

/** The work of this thread that is degraded: of one service, or all of it. */
export const failingWork = (service?: string): FailingWork[] =>
  [...underWay]
    .filter(({ isDegraded }) => isDegraded)
    .map(({ state }) => state)
    .filter((state) => service === undefined || state.service === service);

/** One sentence, for the detail of a state. */
export const sentenceOf = ({ name, failures, forMs, error }: FailingWork): string =>
  `${name} has failed ${failures} times in a row, for ${Math.round(forMs / 1_000)} s: ${error}`;
