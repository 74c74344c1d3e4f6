// The embedded database as another thread sees it: single statements, each of which crosses to the database's thread
// and back. There are no transactions of several statements and no locks, so that nothing in the database ever waits
// for the other thread.
import type { ThreadCalls } from '../runtime/thread-calls.ts';
import type { Database, Queryable, Statements } from './port.ts';

type Lane = 'foreground' | 'background' | 'longRunning';

/** The functions of the database's thread that the other thread calls. */
export const statementFunctions = (database: Database) => {
  const lanes: Record<Lane, Queryable> = {
    foreground: database,
    background: database.background,
    longRunning: database.longRunning,
  };
  return {
    query: (lane: Lane, text: string, params?: readonly unknown[]) => lanes[lane].query(text, params),
    execute: (lane: Lane, text: string, params?: readonly unknown[]) => lanes[lane].execute(text, params),
    script: (lane: Lane, text: string) => lanes[lane].script(text),
  };
};

const elsewhere = () => new Error('transactions and locks belong to the thread of the database');

/** The database as seen by the other thread. Statements reject like those of the database. */
export function remoteDatabase(calls: ThreadCalls<ReturnType<typeof statementFunctions>>): Database {
  const statementsIn = (lane: Lane): Statements => ({
    query: <Row extends object>(text: string, params?: readonly unknown[]) =>
      calls.call('query', lane, text, params) as Promise<Row[]>,
    execute: (text, params) => calls.call('execute', lane, text, params),
    script: (text) => calls.call('script', lane, text),
    transaction: () => Promise.reject(elsewhere()),
  });
  const shared = {
    kind: 'pglite' as const,
    longRunning: statementsIn('longRunning'),
    interrupt: () => {}, // its own thread interrupts it
    logPosition: async () => undefined,
    tryLock: () => Promise.reject(elsewhere()),
    close: async () => {},
  };
  const background: Database = {
    ...shared,
    ...statementsIn('background'),
    get background() {
      return background;
    },
  };
  return { ...shared, ...statementsIn('foreground'), background };
}
