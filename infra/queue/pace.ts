// An even pace from BullMQ's limiter.
//
// The limiter lets `max` jobs begin in a window, which opens with its first job and lasts `duration`. Left at a fixed
// duration, every window opens a little late (a timer, a round trip, the jobs before it) and the lateness adds up: at a
// window of 100 ms it costs some percent of the pace. So time is cut into slots, a window belongs to the slot it opens
// in, and it lasts until that slot's end: lateness is made good by the same window. No slot has two windows, so the pace
// is never exceeded; one that opens later than its slot's end loses that slot, and nothing is caught up in a burst.
// All who drain a queue must agree on the slots, so they are counted on the one clock of the queue's server.

/** Short, so that a slot's jobs are no burst; long, so that a few milliseconds of lateness lose nothing. */
const SLOT_MS = 50;

/** A window that opens this part of a slot before the next one, by rounding or an error of the clock, belongs to that. */
const EARLY = 0.25;

/** The option `limiter` of a BullMQ worker. BullMQ reads `duration` anew each time it asks for a job. */
export interface Limiter {
  readonly max: number;
  /** Milliseconds. */
  readonly duration: number;
}

/** `now` is the time in milliseconds on the clock that all who drain the queue share. */
export function limiter(perSecond: number, now: () => number): Limiter {
  const max = Math.max(1, Math.round((perSecond * SLOT_MS) / 1000));
  const slotMs = (max * 1000) / perSecond;
  return {
    max,
    get duration() {
      const time = now();
      const slot = Math.floor(time / slotMs + EARLY);
      return Math.ceil((slot + 1) * slotMs - time);
    },
  };
}
