// PGlite: PostgreSQL compiled to WebAssembly, in this process, with its files in a folder. It runs one statement or one
// transaction at a time; whoever else queries waits.
//
// PGlite's own query() prepares each statement anew and crosses into WebAssembly six times for it. Planning is most of
// the cost of a small statement, so this adapter speaks PostgreSQL's protocol itself: a statement is prepared once, and
// from then on bound and executed in one crossing, as pg does with named statements.
import { setImmediate } from 'node:timers/promises';
import { PGlite, protocol } from '@electric-sql/pglite';
import pg from 'pg';
import { int8, toText } from './encoding.ts';
import {
  type Database,
  DatabaseUnavailable,
  type Lock,
  type Queryable,
  type Statements,
  type Transaction,
} from './port.ts';

/** `dataDir` is created where it does not exist: the first start takes a few seconds. */
export async function openPglite({ dataDir }: { readonly dataDir: string }): Promise<Database> {
  const pglite = await PGlite.create({ dataDir });
  const session = new Session(pglite);
  const turns = new Turns();
  // There is only this process, so its session locks are names in a set.
  const held = new Set<string>();
  let closed: Promise<void> | undefined;
  let interrupted = false;

  const open = (lane: Lane): Omit<Database, 'background' | 'longRunning'> => ({
    kind: 'pglite',
    query: <Row extends object>(text: string, params?: readonly unknown[]) =>
      turns.take(lane, () => session.query<Row>(text, params)),
    execute: (text, params) => turns.take(lane, () => session.execute(text, params)),
    script: (text) => turns.take(lane, () => session.script(text)),
    transaction: async (work) => {
      const callbacks: (() => void)[] = [];
      const result = await turns.take(lane, () => session.transaction(work, callbacks));
      for (const callback of callbacks) callback();
      return result;
    },
    tryLock: async (name): Promise<Lock | undefined> => {
      if (held.has(name)) return undefined;
      held.add(name);
      return {
        lost: new Promise(() => {}), // it ends with the process
        release: async () => {
          held.delete(name);
        },
      };
    },
    interrupt: () => {
      interrupted = true;
    },
    close: () => {
      closed ??= turns.take('background', () => pglite.close());
      return closed;
    },
  });
  /** A statement keeps the thread to its end, so a stop is heard of between two of them. */
  const interruptible = (queryable: Queryable): Queryable => {
    const untilInterrupted = async () => {
      await setImmediate();
      if (interrupted) throw new DatabaseUnavailable('this process is stopping');
    };
    return {
      query: async <Row extends object>(text: string, params?: readonly unknown[]) => {
        await untilInterrupted();
        return queryable.query<Row>(text, params);
      },
      execute: async (text, params) => {
        await untilInterrupted();
        return queryable.execute(text, params);
      },
      script: async (text) => {
        await untilInterrupted();
        return queryable.script(text);
      },
    };
  };
  const { query, execute, script, transaction } = open('background');
  const longRunning: Statements = {
    ...interruptible({ query, execute, script }),
    transaction: (work) =>
      transaction((tx) => work({ ...interruptible(tx), afterCommit: (callback) => tx.afterCommit(callback) })),
  };
  const background: Database = {
    ...open('background'),
    longRunning,
    get background() {
      return background;
    },
  };
  return { ...open('foreground'), longRunning, background };
}

type Lane = 'foreground' | 'background';

/**
 * Time in the database that the background has for each millisecond of the foreground, while both have work waiting. A
 * statement in the foreground comes with three times as much HTTP in the same thread, so this is about an even share.
 */
const BACKGROUND_WEIGHT = 4;

/**
 * How long the database may work before sockets and timers have their turn: as long as they took the last time, within
 * these bounds. PGlite answers without leaving the current task, so without an end nobody else would get the thread;
 * with one statement for each round of the event loop, a flood of requests that need no database would leave it to a
 * few statements a second.
 */
const MIN_SHARE_MS = 0.5;
const MAX_SHARE_MS = 25;

/** One thing at a time, and neither lane waits for ever. */
class Turns {
  readonly #waiting: Record<Lane, (() => Promise<void>)[]> = { foreground: [], background: [] };
  /** Milliseconds that each lane has had since both were last waiting together. */
  readonly #had: Record<Lane, number> = { foreground: 0, background: 0 };
  #running = false;
  #shareMs = MIN_SHARE_MS;

  take<T>(lane: Lane, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting[lane].push(() => work().then(resolve, reject));
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    let since = performance.now();
    // Ends when nothing waits: `take` begins it again.
    for (;;) {
      const lane = this.#choose();
      const work = this.#waiting[lane].shift();
      if (!work) break;
      const startedAt = performance.now();
      await work();
      // Whoever got this answer asks the next question, if there is one, before the next is chosen.
      await new Promise<void>((resolve) => process.nextTick(resolve));
      const doneAt = performance.now();
      this.#had[lane] += doneAt - startedAt;
      if (doneAt - since < this.#shareMs) continue;
      await setImmediate();
      since = performance.now();
      this.#shareMs = Math.min(MAX_SHARE_MS, Math.max(MIN_SHARE_MS, since - doneAt));
    }
    this.#running = false;
  }

  #choose(): Lane {
    const { foreground, background } = this.#waiting;
    if (foreground.length > 0 && background.length > 0)
      return this.#had.foreground * BACKGROUND_WEIGHT <= this.#had.background ? 'foreground' : 'background';
    // Nobody saves up time while alone.
    this.#had.foreground = 0;
    this.#had.background = 0;
    return foreground.length > 0 ? 'foreground' : 'background';
  }
}

interface Column {
  readonly name: string;
  readonly parse: (text: string) => unknown;
}

interface Prepared {
  readonly name: string;
  readonly columns: readonly Column[];
}

/** PostgreSQL's extended query protocol (PostgreSQL documentation, 53.2.3) over PGlite's one session. */
class Session implements Queryable {
  readonly #pglite: PGlite;
  /** The texts are the program's own, so there are few. */
  readonly #prepared = new Map<string, Prepared>();

  constructor(pglite: PGlite) {
    this.#pglite = pglite;
  }

  async query<Row extends object>(text: string, params: readonly unknown[] = []): Promise<Row[]> {
    return (await this.#run(text, params)).rows as Row[];
  }

  async execute(text: string, params: readonly unknown[] = []): Promise<number> {
    // The tag is such as `INSERT 0 5`, `UPDATE 5`, `CREATE TABLE`.
    return Number(/\d+$/.exec((await this.#run(text, params)).tag)?.[0] ?? 0);
  }

  async script(text: string): Promise<void> {
    await this.command(text);
  }

  /** Runs statements without parameters; returns the last one's tag. */
  async command(text: string): Promise<string> {
    return (await this.#exchange(protocol.serialize.query(text), [])).tag;
  }

  async transaction<T>(work: (tx: Transaction) => Promise<T>, callbacks: (() => void)[]): Promise<T> {
    await this.command('BEGIN');
    try {
      const outcome = await work({
        query: (text, params) => this.query(text, params),
        execute: (text, params) => this.execute(text, params),
        script: (text) => this.script(text),
        afterCommit: (callback) => callbacks.push(callback),
      });
      // COMMIT answers ROLLBACK where a statement failed before, even if `work` got over its error.
      const tag = await this.command('COMMIT');
      if (tag !== 'COMMIT') throw new Error('the transaction was rolled back: one of its statements failed');
      return outcome;
    } catch (error) {
      if (this.#pglite.isInTransaction()) await this.command('ROLLBACK');
      throw error;
    }
  }

  async #run(text: string, params: readonly unknown[]): Promise<{ rows: object[]; tag: string }> {
    const { serialize } = protocol;
    const { name, columns } = this.#prepared.get(text) ?? (await this.#prepare(text));
    const bind = serialize.bind({ statement: name, values: params.map(toText) });
    return this.#exchange(Buffer.concat([bind, serialize.execute({}), serialize.sync()]), columns);
  }

  async #prepare(text: string): Promise<Prepared> {
    const { serialize } = protocol;
    const name = `s${this.#prepared.size}`;
    const { messages } = await this.#pglite.execProtocol(
      Buffer.concat([serialize.parse({ name, text }), serialize.describe({ type: 'S', name }), serialize.sync()]),
    );
    const description = messages.find((message) => message instanceof protocol.messages.RowDescriptionMessage);
    const columns = (description?.fields ?? []).map(({ name: column, dataTypeID }): Column => {
      return { name: column, parse: dataTypeID === int8 ? Number : pg.types.getTypeParser(dataTypeID, 'text') };
    });
    const prepared = { name, columns };
    this.#prepared.set(text, prepared);
    return prepared;
  }

  async #exchange(message: Uint8Array, columns: readonly Column[]): Promise<{ rows: object[]; tag: string }> {
    const { DataRowMessage, CommandCompleteMessage } = protocol.messages;
    const rows: object[] = [];
    let tag = '';
    for (const answer of (await this.#pglite.execProtocol(message)).messages) {
      if (answer instanceof DataRowMessage) rows.push(rowOf(columns, answer.fields));
      else if (answer instanceof CommandCompleteMessage) tag = answer.text;
    }
    return { rows, tag };
  }
}

function rowOf(columns: readonly Column[], fields: readonly (string | null)[]): object {
  const row: Record<string, unknown> = {};
  for (const [index, { name, parse }] of columns.entries()) {
    const field = fields[index] ?? null;
    row[name] = field === null ? null : parse(field);
  }
  return row;
}
