// PGlite: PostgreSQL compiled to WebAssembly, in this process, with its files in a folder. It runs one statement or one
// transaction at a time; all other queries wait.
import { setImmediate } from 'node:timers/promises';
import { PGlite } from '@electric-sql/pglite';
import { ensureDataFolder } from './pglite-folder.ts';
import { CHECKPOINT_CHECK_AFTER_MS, checkpointIfDue } from './pglite-maintenance.ts';
import { PgliteSession } from './pglite-session.ts';
import { type Database, DatabaseUnavailable, type Queryable, type Statements } from './port.ts';
import { PLANNER_SETTINGS, queryableThrough, statementsThrough } from './statements.ts';

/** Foreground: a client waits for the result. */
type Lane = 'foreground' | 'background';

/**
 * Database time that the background gets per millisecond of the foreground while both have work waiting: most of an
 * order's statements are in the background.
 */
const BACKGROUND_WEIGHT = 4;

/**
 * How long the database may work before the timers, sockets and messages of its thread get a turn: as long as their
 * last turn took, within these bounds. PGlite resolves without leaving the current task, so without a limit it would
 * block the thread; with one statement per turn, long turns would leave it only a few statements a second.
 */
const MIN_SHARE_MS = 0.5;
const MAX_SHARE_MS = 25;

/**
 * For pglite-maintenance.ts. A checkpoint keeps at most 64 MB of write-ahead log for reuse. ANALYZE reads 3,000 rows,
 * because with the default of 30,000 it would block all statements for more than 100 ms.
 */
const MAINTENANCE_OPTIONS = ['min_wal_size=32MB', 'max_wal_size=64MB', 'default_statistics_target=10'].flatMap(
  (setting) => ['-c', setting],
);

/** Creates `dataDir` if it does not exist. */
export async function openPglite({ dataDir }: { readonly dataDir: string }): Promise<Database> {
  const folder = await ensureDataFolder(dataDir);
  const plannerOptions = Object.entries(PLANNER_SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const startParams = [...PGlite.defaultStartParams, ...plannerOptions, ...MAINTENANCE_OPTIONS];
  const pglite = await PGlite.create({ dataDir: folder, startParams });
  const session = new PgliteSession(pglite);
  const scheduler = new LaneScheduler(() => checkpointIfDue(session));
  const statementsIn = (lane: Lane) => statementsThrough((work) => scheduler.run(lane, () => work(session)));
  const inBackground = statementsIn('background');
  const stopping = new AbortController();
  let closed: Promise<void> | undefined;
  const shared = {
    kind: 'pglite' as const,
    longRunning: interruptible(inBackground, stopping.signal),
    interrupt: () => stopping.abort(),
    logPosition: async () => session.knownLogPosition ?? scheduler.run('background', () => session.readLogPosition()),
    tryLock: locksOfThisProcess(),
    close: () => {
      closed ??= scheduler.run('background', () => pglite.close());
      return closed;
    },
  };
  const background: Database = {
    ...shared,
    ...inBackground,
    get background() {
      return background;
    },
  };
  return { ...shared, ...statementsIn('foreground'), background };
}

/** A statement blocks the thread to its end, so a stop can interrupt only between two statements. */
function interruptible(statements: Statements, signal: AbortSignal): Statements {
  const unlessInterrupted = (queryable: Queryable) =>
    queryableThrough(async (call) => {
      await setImmediate();
      if (signal.aborted) throw new DatabaseUnavailable('this process is stopping');
      return call(queryable);
    });
  return {
    ...unlessInterrupted(statements),
    transaction: (work) => statements.transaction((tx) => work({ ...tx, ...unlessInterrupted(tx) })),
  };
}

/** Names suffice as session locks, because only this process uses the database. */
function locksOfThisProcess(): Database['tryLock'] {
  const held = new Set<string>();
  return async (name) => {
    if (held.has(name)) return undefined;
    held.add(name);
    const lost = new Promise<void>(() => {}); // the lock lives as long as the process
    return { lost, release: async () => void held.delete(name) };
  };
}

/** Decides which statement runs next, so that neither lane waits for ever. */
class LaneScheduler {
  readonly #waiting: Record<Lane, (() => Promise<void>)[]> = { foreground: [], background: [] };
  /** Milliseconds that each lane has used since one of them last had no work waiting. */
  readonly #usedMs: Record<Lane, number> = { foreground: 0, background: 0 };
  readonly #checkpointIfDue: () => Promise<void>;
  /** Milliseconds of statements since the last check for a checkpoint. */
  #uncheckedMs = 0;
  #running = false;
  #shareMs = MIN_SHARE_MS;

  constructor(checkpointIfDue: () => Promise<void>) {
    this.#checkpointIfDue = checkpointIfDue;
  }

  /** Resolves with the result of `work`, which runs alone. */
  run<T>(lane: Lane, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting[lane].push(() => work().then(resolve, reject));
      if (!this.#running) void this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#running = true;
    let since = performance.now();
    for (;;) {
      const lane = this.#nextLane();
      const work = this.#waiting[lane].shift();
      if (!work) break;
      const startedAt = performance.now();
      await work();
      // The caller may queue its next statement before the next one is chosen.
      await new Promise<void>((resolve) => process.nextTick(resolve));
      this.#uncheckedMs += performance.now() - startedAt;
      if (this.#uncheckedMs >= CHECKPOINT_CHECK_AFTER_MS) {
        await this.#checkpointIfDue().catch(() => {}); // the maintenance loop repeats it and reports the error
        this.#uncheckedMs = 0;
      }
      const doneAt = performance.now();
      this.#usedMs[lane] += doneAt - startedAt;
      if (doneAt - since < this.#shareMs) continue;
      await setImmediate();
      since = performance.now();
      this.#shareMs = Math.min(MAX_SHARE_MS, Math.max(MIN_SHARE_MS, since - doneAt));
    }
    this.#running = false;
  }

  #nextLane(): Lane {
    const { foreground, background } = this.#waiting;
    if (foreground.length > 0 && background.length > 0)
      return this.#usedMs.foreground * BACKGROUND_WEIGHT <= this.#usedMs.background ? 'foreground' : 'background';
    // A lane without work saves up no time for later.
    this.#usedMs.foreground = 0;
    this.#usedMs.background = 0;
    return foreground.length > 0 ? 'foreground' : 'background';
  }
}
