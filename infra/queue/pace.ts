// An even pace from BullMQ's limiter.
//
// The limiter lets `max` jobs begin in a window, which opens with its first job and lasts `duration`. Left at a fixed
// duration, every window opens a little late (a timer, a round trip, the jobs before it) and the lateness adds up: at a
// window of 100 ms it costs some percent of the pace. So time is cut into slots, a window belongs to the slot it opens
// in, and it lasts until that slot's end: lateness is made good by the same window. No slot has two windows, so the pace
// is never exceeded. All who drain a queue must agree on the slots, so they are counted on the one clock of the queue's
// server.
//
// A slot that nobody came to in time is lost where several processes may drain: none of them knows what the others did.
// Where there is one, it makes good for the last few slots that it missed while jobs were waiting.

/** A window that opens this part of a slot before the next one, by rounding or an error of the clock, belongs to that. */
const EARLY = 0.25;

/** About: short, so that a slot's jobs are no burst; long, so that a process in a flood of requests misses none. */
const SLOT_MS = 200;

export interface PaceOptions {
  readonly perSecond: number;
  /** Slots that are made good at a time, at most. */
  readonly catchUpSlots: number;
  /** The time in milliseconds on the clock that all who drain the queue share. */
  readonly now: () => number;
}

/** For the option `limiter` of a BullMQ worker, which reads `max` and `duration` anew each time that it asks for a job. */
export class Pace {
  readonly #options: PaceOptions;
  /** Jobs in one slot, and how long it is, exactly. */
  readonly perSlot: number;
  readonly #slotMs: number;
  /** The slot of the last window, and how many jobs that one lets begin. */
  #slot: number | undefined;
  #max: number;

  constructor(options: PaceOptions) {
    this.#options = options;
    this.perSlot = Math.max(1, Math.round((options.perSecond * SLOT_MS) / 1000));
    this.#slotMs = (this.perSlot * 1000) / options.perSecond;
    this.#max = this.perSlot;
  }

  get max(): number {
    const slot = this.#slotAt(this.#options.now());
    if (slot !== this.#slot) {
      const missed = this.#slot === undefined ? 0 : Math.max(0, slot - this.#slot - 1);
      this.#max = this.perSlot * (1 + Math.min(missed, this.#options.catchUpSlots));
      this.#slot = slot;
    }
    return this.#max;
  }

  /** Milliseconds. */
  get duration(): number {
    const time = this.#options.now();
    return Math.ceil((this.#slotAt(time) + 1) * this.#slotMs - time);
  }

  /** No job was waiting: nothing is missed. */
  rest(): void {
    this.#slot = undefined;
  }

  #slotAt(time: number): number {
    return Math.floor(time / this.#slotMs + EARLY);
  }
}
