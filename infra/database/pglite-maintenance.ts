// PGlite has no background processes, so no autovacuum and no checkpointer. Their work is done here, driven by what was
// written: without it, scans would read all rows that were ever deleted, plans would be made for empty tables, and the
// write-ahead log would grow until the process ends.
import type { Logger } from 'pino';
import type { Loop } from '../runtime/loop.ts';
import { pollingLoop } from './poll.ts';
import type { Database, Queryable } from './port.ts';

const EVERY_MS = 1_000;
/** Log since the last checkpoint. A checkpoint takes about 50 ms, during which no query runs. */
const CHECKPOINT_AFTER_BYTES = 32 * 1024 * 1024;
/**
 * The database checks for a checkpoint each time its statements have run for this long (see pglite.ts), so the check does
 * not wait in a queue of statements. With the 64 MB that are kept for reuse, the log stays below 128 MB at up to 300 MB
 * of new log a second; a fast machine writes 200. Only a single statement can write more: the VACUUM of a table as much
 * as the table's size.
 */
export const CHECKPOINT_CHECK_AFTER_MS = 100;

/** The statistics of this session's statements are reported only on request. */
const REPORT_STATISTICS = 'SELECT pg_stat_force_next_flush()';

const CHECKPOINT_DUE = `SELECT FROM pg_control_checkpoint()
  WHERE pg_current_wal_insert_lsn() - redo_lsn > ${CHECKPOINT_AFTER_BYTES}`;

/**
 * The table with the most dead, new or changed rows beyond its threshold. New rows are vacuumed for the BRIN index of
 * the inbox, and so that later vacuums skip their pages. As with autovacuum, the thresholds grow with the table, so that
 * the work for each written row stays the same. An outbox, whose rows are all deleted, is vacuumed every 1,000 rows, which
 * takes about a millisecond.
 */
const TABLE_DUE = `SELECT format('%I.%I', schemaname, relname) AS table, unvacuumed > 1 AS vacuum, changed > 1 AS analyze
  FROM (
    SELECT schemaname, relname,
      greatest(n_dead_tup / (1000 + 0.1 * n_live_tup), n_ins_since_vacuum / (10000 + 0.2 * n_live_tup)) AS unvacuumed,
      n_mod_since_analyze / (10000 + 0.5 * n_live_tup) AS changed
    FROM pg_stat_all_tables WHERE schemaname <> 'pg_toast'
  ) AS tables
  WHERE unvacuumed > 1 OR changed > 1 ORDER BY greatest(unvacuumed, changed) DESC LIMIT 1`;

/** Starts a checkpoint if CHECKPOINT_AFTER_BYTES of log have been written since the last one. Rejects if it fails. */
export async function checkpointIfDue(database: Queryable): Promise<void> {
  if ((await database.query(CHECKPOINT_DUE)).length > 0) await database.script('CHECKPOINT');
}

/** Vacuums and analyzes one table in each turn, so that other statements run in between. */
export function maintenanceLoop(database: Database, log: Logger): Loop {
  const turn = async () => {
    await database.query(REPORT_STATISTICS);
    await checkpointIfDue(database); // reports the error if checkpoints fail
    type Due = { readonly table: string; readonly vacuum: boolean; readonly analyze: boolean };
    const [due] = await database.query<Due>(TABLE_DUE);
    if (!due) return false;
    const { table, vacuum, analyze } = due;
    await database.script(vacuum ? `VACUUM ${analyze ? '(ANALYZE) ' : ''}${table}` : `ANALYZE ${table}`);
    return true;
  };
  return pollingLoop({ name: 'database maintenance', everyMs: EVERY_MS, database, log, turn });
}
