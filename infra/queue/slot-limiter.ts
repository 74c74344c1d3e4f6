// An even rate from BullMQ's limiter.
//
// The limiter lets `max` jobs start in a window, which opens with its first job and lasts `duration`. With a fixed
// duration every window opens a little late (a timer, a round trip, the jobs before it), and the delays add up: at a
// window of 100 ms they cost several percent of the rate. So time is divided into slots, and a window lasts until the
// end of the slot in which it opens: a window that opens late is shorter. No slot has two windows, so each slot keeps
// the rate. All processes that drain a queue must agree on the slots, so these are counted on Redis's clock. On a
// database, where one process drains, they are counted on that process's clock, as BullMQ's windows are.
//
// A slot without a window is lost if several processes may drain, because none knows what the others did. A sole
// process catches up on what it missed while jobs were waiting: no slot and no second has more than 110 % of the jobs
// that the rate gives it (or one more, if 10 % is less than one).

/** A window that opens at most this part of a slot too early, by rounding or clock error, belongs to the next slot. */
const EARLY = 0.25;

/**
 * Approximate. If several processes may drain: short enough to avoid bursts, long enough that a process under a flood
 * of requests misses no slot.
 */
const SHARED_SLOT_MS = 200;
/**
 * A sole process may miss slots. At this length, a window that opens after the end of a second moves a tenth of a
 * second's jobs into the next one, which is within the tolerance of the rate.
 */
const SOLE_SLOT_MS = 100;

const SECOND_MS = 1_000;
/** A sole process catches up on what it missed in up to this time; the rest is lost. */
const CATCH_UP_SECONDS = 2;

/** 110 % of a number of jobs, or one more: the most that a sole process lets start in a slot or in any second. */
export const withCatchUp = (jobs: number): number => jobs + Math.max(1, Math.floor(jobs / 10));

interface SlotLimiterOptions {
  readonly perSecond: number;
  /** No other process drains the queue. */
  readonly isSole: boolean;
  /** Milliseconds on the clock that BullMQ uses for its windows. */
  readonly now: () => number;
}

/** BullMQ's option `limiter`: BullMQ reads `max` and `duration` with each claim. */
export class SlotLimiter {
  readonly #options: SlotLimiterOptions;
  /** Jobs in one slot. */
  readonly perSlot: number;
  /** Exact length of a slot. */
  readonly #slotMs: number;
  /** The slot of the last window, and the number of jobs that the window lets start. */
  #slot = Number.NEGATIVE_INFINITY;
  #max: number;
  #startedInSlot = 0;
  #wasIdle = true;
  /** Of a sole process: jobs of the slots so far that have not started. */
  #owed = 0;
  /** Of a sole process: the times of the starts within the last second, at most withCatchUp(perSecond). */
  #starts: number[] = [];

  constructor(options: SlotLimiterOptions) {
    const { perSecond, isSole } = options;
    this.#options = options;
    this.perSlot = Math.max(1, Math.round((perSecond * (isSole ? SOLE_SLOT_MS : SHARED_SLOT_MS)) / SECOND_MS));
    this.#slotMs = (this.perSlot * SECOND_MS) / perSecond;
    this.#max = this.perSlot;
  }

  /** Jobs that the current window lets start. Reading it in a new slot begins that slot's window. */
  get max(): number {
    const { isSole, perSecond, now } = this.#options;
    const time = now();
    const slot = this.#slotAt(time);
    if (isSole && slot !== this.#slot) {
      if (this.#wasIdle) this.#owed = Math.min(0, this.#owed);
      // A clock that was set back counts as one slot.
      const slots = this.#wasIdle || slot < this.#slot ? 1 : slot - this.#slot;
      this.#owed = Math.min(this.#owed + slots * this.perSlot, CATCH_UP_SECONDS * perSecond + this.perSlot);
      // BullMQ takes 0 for no limit; blockedMs keeps jobs from being claimed instead.
      this.#max = Math.max(1, Math.min(this.#owed, withCatchUp(this.perSlot), this.#startsLeft(time)));
      this.#slot = slot;
      this.#startedInSlot = 0;
    }
    this.#wasIdle = false;
    return this.#max;
  }

  /** Milliseconds. */
  get duration(): number {
    const time = this.#options.now();
    return Math.ceil((this.#slotAt(time) + 1) * this.#slotMs - time);
  }

  /**
   * Milliseconds until a sole process may claim a job; 0 if it may now. A window opens only once the last second has
   * room for all jobs of a slot, because the window's `max` cannot grow later. BullMQ rounds the end of a window up, so
   * some of its jobs start in the next slot; they count in that slot.
   */
  get blockedMs(): number {
    const { isSole, now } = this.#options;
    if (!isSole) return 0;
    const time = now();
    if (this.#slotAt(time) === this.#slot) return this.#startedInSlot < this.#max ? 0 : this.duration;
    const excess = this.perSlot - this.#startsLeft(time);
    return excess <= 0 ? 0 : (this.#starts[excess - 1] ?? time) + SECOND_MS - time;
  }

  /** A job starts. */
  markStarted(): void {
    if (!this.#options.isSole) return;
    this.#owed--;
    this.#startedInSlot++;
    this.#starts.push(this.#options.now());
  }

  /** No job is waiting: slots that pass before the next job are not missed. */
  markIdle(): void {
    this.#wasIdle = true;
  }

  #startsLeft(time: number): number {
    while ((this.#starts[0] ?? time) <= time - SECOND_MS) this.#starts.shift();
    if ((this.#starts.at(-1) ?? time) > time) this.#starts = []; // the clock was set back
    return withCatchUp(this.#options.perSecond) - this.#starts.length;
  }

  #slotAt(time: number): number {
    return Math.floor(time / this.#slotMs + EARLY);
  }
}
