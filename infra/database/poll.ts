// Skips the polls of an idle embedded database. Only this process writes to it, so a poll that found nothing finds
// nothing again until a row changes or becomes due. PostgreSQL is polled each time, because other processes write to
// it.
//
// A skipped poll costs microseconds instead of a statement: see "Idle" in docs/performance.md.
import { Loop, type LoopOptions } from '../runtime/loop.ts';
import type { Database } from './port.ts';

/**
 * Maximum time without a poll, in case `nextDue` overlooks a row. A lost wake-up needs no limit, because the write
 * changes the log position, so the next turn polls.
 */
const MAX_SKIPPED_MS = 30_000;

export const GRID_MS = 250;
/** On PGlite, pauses end at multiples of GRID_MS, so that polls share wake-ups: see LoopOptions. */
export const gridOf = ({ kind }: Database) => (kind === 'pglite' ? { gridMs: GRID_MS } : {});

export interface PollOptions {
  readonly database: Database;
  /** A query for `due`: the time at which the next row becomes due for this poll, or null. Default: no row does. */
  readonly nextDue?: string;
}

export class Poll {
  readonly #options: PollOptions;
  /** The log position before the last poll; undefined if the next poll must run. */
  #position: string | undefined;
  #lastAt = Number.NEGATIVE_INFINITY;
  /**
   * The result of `nextDue` at a log position. Comparable with Date.now(), because PGlite uses this process's clock.
   */
  #due: { readonly position: string; readonly at: number } | undefined;

  constructor(options: PollOptions) {
    this.#options = options;
  }

  /**
   * Runs `poll` unless it would find nothing. Resolves with its result, or with false if it was skipped; after `true`,
   * the next call polls too. `always`: never skips it, because something other than a row may have changed.
   */
  async run(poll: () => Promise<unknown>, { always = false } = {}): Promise<unknown> {
    const position = always ? undefined : await this.#options.database.logPosition();
    if (position !== undefined && position === this.#position && !(await this.#isDue(position))) return false;
    this.#position = undefined;
    this.#lastAt = performance.now();
    const again = await poll();
    if (again !== true) this.#position = position;
    return again;
  }

  async #isDue(position: string): Promise<boolean> {
    if (performance.now() - this.#lastAt >= MAX_SKIPPED_MS) return true;
    if (this.#due?.position !== position) this.#due = { position, at: await this.#nextDue() };
    return Date.now() >= this.#due.at;
  }

  async #nextDue(): Promise<number> {
    const { database, nextDue } = this.#options;
    if (!nextDue) return Number.POSITIVE_INFINITY;
    const [row] = await database.query<{ due: Date | number | null }>(nextDue); // a number if it is infinite
    return Number(row?.due ?? Number.POSITIVE_INFINITY);
  }
}

/** A loop whose turns only find rows and handle them. A turn after wake() is never skipped. */
export function pollingLoop({ database, nextDue, turn, ...options }: LoopOptions & PollOptions): Loop {
  const poll = new Poll({ database, ...(nextDue ? { nextDue } : {}) });
  return new Loop({ ...gridOf(database), ...options, turn: (woken) => poll.run(() => turn(woken), { always: woken }) });
}
