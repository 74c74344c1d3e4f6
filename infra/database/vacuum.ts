// PGlite has no background processes, so no autovacuum: without this, every look into an outbox would step over all the
// rows that ever were in it.
import type { Logger } from 'pino';
import { Loop } from '../runtime/loop.ts';
import type { Database } from './port.ts';

/** The outboxes turn over completely, again and again; they are small, so this takes about a millisecond. */
const OUTBOXES_EVERY_MS = 10_000;
/** Everything, with the planner's statistics: some 300 ms at a few hundred thousand rows, in which nothing else runs. */
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
