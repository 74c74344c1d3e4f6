// PGlite: PostgreSQL compiled to WebAssembly, in this process, with its files in a folder. It runs one statement or one
// transaction at a time; all other queries wait.
import { setImmediate } from 'node:timers/promises';
import { PGlite } from '@electric-sql/pglite';
import { type Lane, LaneScheduler } from './pglite-scheduler.ts';
import { PgliteSession } from './pglite-session.ts';
import { type Database, DatabaseUnavailable, type Lock, type Queryable, type Statements } from './port.ts';

/** Creates `dataDir` if it does not exist: the first start takes a few seconds. */
export async function openPglite({ dataDir }: { readonly dataDir: string }): Promise<Database> {
  const instance = new PgliteInstance(new PgliteSession(await PGlite.create({ dataDir })));
  const longRunning = instance.longRunning();
  const background: Database = {
    ...instance.lane('background'),
    longRunning,
    get background() {
      return background;
    },
  };
  return { ...instance.lane('foreground'), longRunning, background };
}

class PgliteInstance {
  readonly #session: PgliteSession;
  readonly #scheduler = new LaneScheduler();
  /** Names suffice as session locks, because only this process uses the database. */
  readonly #locks = new Set<string>();
  #interrupted = false;
  #closed: Promise<void> | undefined;

  constructor(session: PgliteSession) {
    this.#session = session;
  }

  lane(lane: Lane): Omit<Database, 'background' | 'longRunning'> {
    return {
      kind: 'pglite',
      ...this.#statements(lane),
      tryLock: (name) => this.#tryLock(name),
      interrupt: () => {
        this.#interrupted = true;
      },
      close: () => {
        this.#closed ??= this.#scheduler.run('background', () => this.#session.close());
        return this.#closed;
      },
    };
  }

  longRunning(): Statements {
    const statements = this.#statements('background');
    return {
      ...this.#interruptible(statements),
      transaction: (work) =>
        statements.transaction((tx) =>
          work({ ...this.#interruptible(tx), afterCommit: (callback) => tx.afterCommit(callback) }),
        ),
    };
  }

  #statements(lane: Lane): Statements {
    const [scheduler, session] = [this.#scheduler, this.#session];
    return {
      query: (text, params) => scheduler.run(lane, () => session.query(text, params)),
      execute: (text, params) => scheduler.run(lane, () => session.execute(text, params)),
      script: (text) => scheduler.run(lane, () => session.script(text)),
      transaction: async (work) => {
        const callbacks: (() => void)[] = [];
        const result = await scheduler.run(lane, () => session.transaction(work, callbacks));
        for (const callback of callbacks) callback();
        return result;
      },
    };
  }

  /** A statement blocks the thread to its end, so a stop can interrupt only between two statements. */
  #interruptible(queryable: Queryable): Queryable {
    const ifNotInterrupted = async <T>(run: () => Promise<T>): Promise<T> => {
      await setImmediate();
      if (this.#interrupted) throw new DatabaseUnavailable('this process is stopping');
      return run();
    };
    return {
      query: (text, params) => ifNotInterrupted(() => queryable.query(text, params)),
      execute: (text, params) => ifNotInterrupted(() => queryable.execute(text, params)),
      script: (text) => ifNotInterrupted(() => queryable.script(text)),
    };
  }

  async #tryLock(name: string): Promise<Lock | undefined> {
    if (this.#locks.has(name)) return undefined;
    this.#locks.add(name);
    return {
      lost: new Promise(() => {}), // the lock lives as long as the process
      release: async () => {
        this.#locks.delete(name);
      },
    };
  }
}
