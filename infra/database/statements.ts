// What PostgreSQL and PGlite have in common: statements that run somewhere else, and the course of a transaction.
import type { Queryable, Statements } from './port.ts';

/** A connection, or PGlite's one session. */
export interface Session extends Queryable {
  /** Runs BEGIN or COMMIT and resolves with the command that the server reports. */
  command(text: 'BEGIN' | 'COMMIT'): Promise<string>;
  /** Rolls back a transaction that ended with `error`, if it is still open. */
  rollback(error: unknown): Promise<void>;
}

/** Statements, each of which runs inside `run`, on the Queryable that `run` passes. */
export const queryableThrough = (run: <T>(call: (on: Queryable) => Promise<T>) => Promise<T>): Queryable => ({
  query: (text, params) => run((on) => on.query(text, params)),
  execute: (text, params) => run((on) => on.execute(text, params)),
  script: (text) => run((on) => on.script(text)),
});

/** Statements and transactions, for each of which `withSession` passes a session that nothing else uses meanwhile. */
export function statementsThrough(withSession: <T>(work: (on: Session) => Promise<T>) => Promise<T>): Statements {
  return {
    ...queryableThrough(withSession),
    transaction: async (work) => {
      let callbacks: (() => void)[] = [];
      const result = await withSession(async (session) => {
        callbacks = []; // an earlier attempt, rolled back after a conflict, may have added some
        await session.command('BEGIN');
        try {
          const outcome = await work({
            ...queryableThrough((call) => call(session)),
            afterCommit: (callback) => callbacks.push(callback),
          });
          // ROLLBACK if a statement failed before, even if `work` caught its error.
          const command = await session.command('COMMIT');
          if (command !== 'COMMIT') throw new Error('the transaction was rolled back: one of its statements failed');
          return outcome;
        } catch (error) {
          await session.rollback(error);
          throw error;
        }
      });
      for (const callback of callbacks) callback();
      return result;
    },
  };
}
