// An even rate from BullMQ's limiter.
//
// The limiter lets `max` jobs start in a window, which opens with its first job and lasts `duration`. With a fixed
// duration every window opens a little late (a timer, a round trip, the jobs before it), and the delays add up: at a
// window of 100 ms they cost several percent of the rate. So time is divided into slots, and a window lasts until the end
// of the slot in which it opens: a window that opens late is shorter. No slot has two windows, so each slot keeps the
// rate. All processes that drain a queue must agree on the slots, so these are counted on Redis's clock. On a database,
// where one process drains, they are counted on that process's clock, as BullMQ's windows are.
//
// A slot without a window is lost if several processes may drain, because none knows what the others did. A sole
// process catches up on the last few slots that it missed while jobs were waiting.

/** A window that opens at most this part of a slot too early, by rounding or clock error, belongs to the next slot. */
const EARLY = 0.25;

/** Approximate: short enough to avoid bursts, long enough that a process under a flood of requests misses no slot. */
const SLOT_MS = 200;

/** BullMQ's option `limiter`: BullMQ reads `max` and `duration` with each claim. */
export class SlotLimiter {
  readonly #catchUpSlots: number;
  readonly #now: () => number;
  /** Jobs in one slot. */
  readonly perSlot: number;
  /** Exact length of a slot. */
  readonly #slotMs: number;
  /** The slot of the last window, and the number of jobs that the window lets start. */
  #slot: number | undefined;
  #max: number;

  /**
   * A window catches up at most `catchUpSlots` missed slots. `now` gives milliseconds on the clock that BullMQ uses for
   * its windows.
   */
  constructor(perSecond: number, catchUpSlots: number, now: () => number) {
    this.#catchUpSlots = catchUpSlots;
    this.#now = now;
    this.perSlot = Math.max(1, Math.round((perSecond * SLOT_MS) / 1000));
    this.#slotMs = (this.perSlot * 1000) / perSecond;
    this.#max = this.perSlot;
  }

  /** Jobs that the current window lets start. Reading it in a new slot begins that slot's window. */
  get max(): number {
    const slot = this.#slotAt(this.#now());
    if (slot !== this.#slot) {
      const missed = this.#slot === undefined ? 0 : Math.max(0, slot - this.#slot - 1);
      this.#max = this.perSlot * (1 + Math.min(missed, this.#catchUpSlots));
      this.#slot = slot;
    }
    return this.#max;
  }

  /** Milliseconds. */
  get duration(): number {
    const time = this.#now();
    return Math.ceil((this.#slotAt(time) + 1) * this.#slotMs - time);
  }

  /** No job is waiting: slots that pass before the next job are not missed. */
  markIdle(): void {
    this.#slot = undefined;
  }

  #slotAt(time: number): number {
    return Math.floor(time / this.#slotMs + EARLY);
  }
}
