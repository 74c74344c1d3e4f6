// PGlite has no background processes and so no autovacuum. Without these loops, every query of an outbox would scan all
// rows that were ever in it.
import type { Logger } from 'pino';
import { Loop } from '../runtime/loop.ts';
import type { Database } from './port.ts';

/** All rows of an outbox are replaced all the time. The tables are small, so this takes about a millisecond. */
const OUTBOXES_EVERY_MS = 10_000;
/** All tables and the planner's statistics: about 300 ms at a few hundred thousand rows, during which no query runs. */
const ALL_EVERY_MS = 600_000;

export function vacuumLoops(database: Database, schemas: readonly string[], log: Logger): Loop[] {
  const vacuum = (name: string, everyMs: number, statement: string) => {
    let first = true;
    const turn = async () => {
      if (!first) await database.script(statement);
      first = false;
      return false;
    };
    return new Loop({ name, everyMs, log, turn });
  };
  const outboxes = schemas.map((schema) => `${schema}.outbox`).join(', ');
  return [
    vacuum('vacuum outboxes', OUTBOXES_EVERY_MS, `VACUUM ${outboxes}`),
    vacuum('vacuum', ALL_EVERY_MS, 'VACUUM (ANALYZE)'),
  ];
}
