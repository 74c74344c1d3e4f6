// How long requests wait for the event loop, and which of them to shed. A handler's clock does not see the time that a
// request spends in its socket's buffer; EventLoopLag bounds that time from outside. It does not see how long a new
// connection waits to be accepted: libuv accepts one per turn of the loop. Times are milliseconds of one monotonic
// clock.

/** After this long without lag, a burst is tolerated again. Longer than the waves in which overload arrives. */
export const CALM_MS = 2_000;

/**
 * If every request was shed for this long, shedding does not help: other work blocks the loop. Some requests are then
 * accepted for a quarter of the allowed lag, because shedding everything is worse than serving some.
 */
const STARVED_MS = 1_000;

/**
 * An upper bound of the time that a request handled now has waited. The loop polls its sockets once per turn, after its
 * timers. A request that is handled now was not there at the poll before the last one, or it would have been handled
 * then; so its wait is at most the age of the timer tick that ran before that poll. This is known inside a turn that
 * grows long, whereas a timer's delay (perf_hooks' monitorEventLoopDelay) is known only after the turn and is half of
 * the wait; eventLoopUtilization is 1 for a loop that is merely busy.
 */
export class EventLoopLag {
  #tick = 0;
  #tickBefore = 0;

  constructor(now: number) {
    this.reset(now);
  }

  /** Call it from a timer: once per turn, or less often if turns are short. */
  tick(now: number): void {
    this.#tickBefore = this.#tick;
    this.#tick = now;
  }

  /** As if the loop had been idle until now. */
  reset(now: number): void {
    this.#tick = now;
    this.#tickBefore = now;
  }

  /** Up to two intervals of the timer mean no lag. */
  at(now: number): number {
    return now - this.#tickBefore;
  }
}

/**
 * Decides which requests to accept at which lag. A burst or a pause (garbage collection) is tolerated; lag that lasts
 * is an overload. During an overload only requests within the limit are accepted, until the loop has been calm for
 * CALM_MS.
 */
export class LoadShedder {
  readonly #maxLagMs: number;
  readonly #toleratedMs: number;
  #laggingSince: number | undefined;
  #strictUntil = Number.NEGATIVE_INFINITY;
  /** When the last request was accepted; in the future while STARVED_MS lets some through. */
  #acceptedAt: number;

  /** An accepted request waited at most `maxLagMs + toleratedMs`; during an overload `maxLagMs` (see STARVED_MS). */
  constructor(maxLagMs: number, toleratedMs: number, now: number) {
    this.#maxLagMs = maxLagMs;
    this.#toleratedMs = toleratedMs;
    this.#acceptedAt = now;
  }

  /** Reports the lag between requests: lag does not last if it ends between two of them. */
  observe(lagMs: number): void {
    if (lagMs <= this.#maxLagMs) this.#laggingSince = undefined;
  }

  /** No requests came until now, so none were shed. */
  reset(now: number): void {
    this.#acceptedAt = Math.max(this.#acceptedAt, now);
    this.#laggingSince = undefined;
  }

  /** Call it once per request, and reject the request if it returns false. */
  accepts(lagMs: number, now: number): boolean {
    this.observe(lagMs);
    const accepted = lagMs <= this.#maxLagMs || this.#isTolerated(now) || now <= this.#acceptedAt;
    if (accepted) this.#acceptedAt = Math.max(this.#acceptedAt, now);
    else if (now - this.#acceptedAt > STARVED_MS) this.#acceptedAt = now + this.#maxLagMs / 4;
    return accepted;
  }

  #isTolerated(now: number): boolean {
    this.#laggingSince ??= now;
    if (now > this.#strictUntil && now - this.#laggingSince <= this.#toleratedMs) return true;
    this.#strictUntil = now + CALM_MS;
    return false;
  }
}
