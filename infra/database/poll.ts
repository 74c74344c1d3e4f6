// Polls that an idle embedded database is spared. Only this process writes to it, so a poll that found nothing finds
// nothing again until a row changes or becomes due. PostgreSQL is polled each time, because other processes write to it.
//
// The loops keep their intervals, and so their latencies, but a turn costs microseconds instead of a statement: 45
// statements a second, and with them 1.5 % of a core, become three.
import { Loop, type LoopOptions } from '../runtime/loop.ts';
import type { Database } from './port.ts';

/**
 * The longest time between two polls, as a safety net. A lost wake-up does not need it, because its row has moved the
 * log: such a row is found at the loop's interval. A row that `nextDue` overlooked would be late by this much.
 */
const MAX_SPARED_MS = 30_000;

/** The turns of an idle embedded database's polls come together, four times a second: see LoopOptions. */
export const gridOf = ({ kind }: Database) => (kind === 'pglite' ? { gridMs: 250 } : {});

export interface PollOptions {
  readonly database: Database;
  /** A query for `due`: when a row becomes due that the poll then finds, or null. Default: rows do not become due. */
  readonly nextDue?: string;
}

export class Poll {
  readonly #options: PollOptions;
  /** The position of the log before the last poll; undefined if the next poll must run. */
  #position: string | undefined;
  #lastAt = Number.NEGATIVE_INFINITY;
  /** The result of `nextDue` at a position, by Date.now(), which is also the clock of PGlite. */
  #due: { readonly position: string; readonly at: number } | undefined;

  constructor(options: PollOptions) {
    this.#options = options;
  }

  /**
   * Runs `poll` unless it would find nothing, and resolves with its result, otherwise with false. After `true` the next
   * one runs, too. `always`: it runs in any case, because something else than a row may have changed.
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
    if (performance.now() - this.#lastAt >= MAX_SPARED_MS) return true;
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

/** A loop whose turns only find rows and handle them. A turn after wake() is never spared. */
export function pollingLoop({ database, nextDue, turn, ...options }: LoopOptions & PollOptions): Loop {
  const poll = new Poll({ database, ...(nextDue ? { nextDue } : {}) });
  return new Loop({ ...gridOf(database), ...options, turn: (woken) => poll.run(() => turn(woken), { always: woken }) });
}
