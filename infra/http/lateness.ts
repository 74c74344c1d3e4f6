// How late requests are when their handlers first see them, and how much of that is borne. No handler's clock sees the
// time that a request spends in its socket's buffer: it is bounded here from what the event loop does. Not seen is the
// wait of a new connection for being accepted, of which libuv accepts one in each turn of the loop. Times are in
// milliseconds, of any one monotonic clock.

/** After this long without lateness, it is tolerated again. Longer than the waves in which an overload comes. */
export const CALM_MS = 2_000;

/**
 * Where all were rejected for this long, rejecting does not help: something else holds the loop up. Then some are accepted
 * all the same, for a quarter of the allowed lateness, as a guard that only rejects is worse than none.
 */
const STARVED_MS = 1_000;

/**
 * The loop polls its sockets once a turn, after its timers: a request that is handled now was not there when the turn
 * before this one polled, or it would have been handled then. So the timer that ran before that poll says how long it
 * waited *at most*, and does so inside a turn that is growing long. The delay of a timer (and so perf_hooks'
 * monitorEventLoopDelay) is known only when the turn is over, and is half of the wait; eventLoopUtilization is 1 for a
 * loop that is merely busy.
 */
export class LoopLateness {
  #tick: number;
  #tickBefore: number;

  constructor(now: number) {
    this.#tick = now;
    this.#tickBefore = now;
  }

  /** To be called by a timer: once a turn, or more seldom where turns are short. */
  tick(now: number): void {
    this.#tickBefore = this.#tick;
    this.#tick = now;
  }

  /** As if the loop had been idle until now. */
  reset(now: number): void {
    this.#tick = now;
    this.#tickBefore = now;
  }

  /** An upper bound; up to two of the timer's intervals mean nothing. */
  at(now: number): number {
    return now - this.#tickBefore;
  }
}

/**
 * Whom to accept at what lateness. A burst, or a pause as for garbage collection, is borne: only lateness that lasts is
 * an overload. From then on only who is in time is accepted, until it has been calm for a while.
 */
export class LatenessLimit {
  readonly #maxMs: number;
  readonly #toleratedMs: number;
  #lateSince: number | undefined;
  #strictUntil = Number.NEGATIVE_INFINITY;
  /** When the last one was accepted; in the future while some are accepted all the same. */
  #acceptedAt: number;

  /** An accepted request has waited for at most both together; in a recognised overload for `maxMs` (see STARVED_MS). */
  constructor(maxMs: number, toleratedMs: number, now: number) {
    this.#maxMs = maxMs;
    this.#toleratedMs = toleratedMs;
    this.#acceptedAt = now;
  }

  /** For when no request says so: lateness does not last where it is broken between two requests. */
  observe(latenessMs: number): void {
    if (latenessMs <= this.#maxMs) this.#lateSince = undefined;
  }

  /** Nobody asked until now, so nobody was rejected. */
  reset(now: number): void {
    this.#acceptedAt = Math.max(this.#acceptedAt, now);
    this.#lateSince = undefined;
  }

  /** To be called once for each request, and followed. */
  accepts(latenessMs: number, now: number): boolean {
    this.observe(latenessMs);
    const accepted = latenessMs <= this.#maxMs || this.#isTolerated(now) || now <= this.#acceptedAt;
    if (accepted) this.#acceptedAt = Math.max(this.#acceptedAt, now);
    else if (now - this.#acceptedAt > STARVED_MS) this.#acceptedAt = now + this.#maxMs / 4;
    return accepted;
  }

  #isTolerated(now: number): boolean {
    this.#lateSince ??= now;
    if (now > this.#strictUntil && now - this.#lateSince <= this.#toleratedMs) return true;
    this.#strictUntil = now + CALM_MS;
    return false;
  }
}
