// Shared by PostgreSQL and PGlite: transactions, their retries after conflicts, and statements that a session runs.
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { backoff } from '../runtime/backoff.ts';
import { ConcurrentUpdate, type Queryable, type Statements } from './port.ts';

/** Deadlock and serialization failure (SQLSTATE codes: PostgreSQL, appendix A). */
const CONFLICTS: readonly unknown[] = ['40P01', '40001'];
const CONFLICT_ATTEMPTS = 5;
/** Short, because the other transaction needs milliseconds; with jitter, so that the same two do not conflict again. */
const CONFLICT_BASE_MS = 10;
const CONFLICT_MAX_MS = 200;

/** A connection, or PGlite's one session. */
export interface Session extends Queryable {
  /** Runs BEGIN or COMMIT and resolves with the command that the server reports. */
  command(text: 'BEGIN' | 'COMMIT'): Promise<string>;
  /** Rolls back a transaction that ended with `error`, if it is still open. */
  rollback(error: unknown): Promise<void>;
}

/**
 * Every frequent statement is written for an index. Without enable_seqscan=off, a plan that was cached while its table
 * was small keeps scanning the table until statistics exist, minutes later, however large the table has become: in the
 * first minute, the statements of an order took 0.15 ms longer. The penalty on a scan makes cheap statements look
 * expensive enough to compile, so JIT is off.
 *
 * A statement that chooses its rows by a subquery with LIMIT writes `id = ANY (ARRAY(SELECT …))`, never `id IN (SELECT
 * …)`. After an outbox or inbox was analyzed while it was empty, PostgreSQL runs the subquery of the latter once for
 * each row of the table: with 4,000 rows in an outbox, a claim took seconds.
 */
export const PLANNER_SETTINGS = { enable_seqscan: 'off', jit: 'off' };

const INT8: number = pg.types.builtins.INT8;

/** How a result's value is read from PostgreSQL's text format. A `bigint` is a number: ours stay below 2^53. */
export const parserOf = (type: number): ((text: string) => unknown) =>
  type === INT8 ? Number : pg.types.getTypeParser(type, 'text');

/** Statements, each of which runs inside `run`, on the Queryable that `run` passes. */
export const queryableThrough = (run: <T>(call: (on: Queryable) => Promise<T>) => Promise<T>): Queryable => ({
  query: (text, params) => run((on) => on.query(text, params)),
  execute: (text, params) => run((on) => on.execute(text, params)),
  script: (text) => run((on) => on.script(text)),
});

/**
 * Statements and transactions, for each of which `runOnce` passes a session that nothing else uses meanwhile. Both are
 * retried after a conflict.
 */
export function statementsThrough(runOnce: <T>(work: (on: Session) => Promise<T>) => Promise<T>): Statements {
  const withSession: typeof runOnce = (work) => retryConflicts(() => runOnce(work));
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

/**
 * Retries `work` after a deadlock or a serialization failure: PostgreSQL rolls one of the transactions back, and the
 * same work may succeed a moment later. After the last attempt it rejects with ConcurrentUpdate, which an outer call
 * does not retry, so that attempts do not multiply.
 */
export async function retryConflicts<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && CONFLICTS.includes(error.code))) throw error;
      if (attempt === CONFLICT_ATTEMPTS) throw new ConcurrentUpdate(error);
      await delay(backoff(attempt, CONFLICT_BASE_MS, CONFLICT_MAX_MS));
    }
  }
}
