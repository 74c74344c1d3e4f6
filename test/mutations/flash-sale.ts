// Mistakes in the totals of a flash sale.
import type { Mutation } from './mutation.ts';

const MIGRATION = 'services/flash-sale/store/migrations/001_flash_sale.sql';
const BURST = { files: ['test/fault/flash-sale-burst.test.ts'], pattern: '^ten times the cap in one burst' };

/** At this point the admissions of four gateways wait for each other, for half a second at the most. */
const UNTIL_ALL_HAVE_CHECKED = `
  PERFORM pg_advisory_xact_lock_shared(4711);
  FOR turn IN 1..50 LOOP
    EXIT WHEN (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) >= 4;
    PERFORM pg_sleep(0.01);
  END LOOP;`;

export const flashSaleMutations: readonly Mutation[] = [
  {
    name: 'check-then-add',
    lesson:
      'Between reading how many there are and adding one, others read the same: the cap and the stock are exceeded.',
    changes: [
      {
        file: MIGRATION,
        find: 'WHERE id = the_sale FOR NO KEY UPDATE;',
        replace: `WHERE id = the_sale; ${UNTIL_ALL_HAVE_CHECKED}`,
      },
      // The constraints, which would keep the totals right without the lock: that is a test of its own.
      { file: MIGRATION, find: ' CHECK (queued BETWEEN 0 AND queue_cap)', replace: '' },
      {
        file: MIGRATION,
        find: '  closed_at timestamptz,\n  UNIQUE (sale_id, number)\n',
        replace: '  closed_at timestamptz\n',
      },
    ],
    tests: BURST,
    failure: 'I5: more than the cap, by the journal',
  },
  {
    name: 'second-ticket',
    lesson:
      'One ticket per user holds only where the row that decides looks at who has one, and a unique index stands behind it.',
    changes: [
      { file: MIGRATION, find: 't.user_id IN (SELECT request.user_id FROM request)', replace: 'false' },
      { file: MIGRATION, find: 'CREATE UNIQUE INDEX tickets_live', replace: 'CREATE INDEX tickets_live' },
    ],
    tests: BURST,
    failure: 'I4: a second live ticket',
  },
  {
    name: 'queue-counted-down-twice',
    lesson:
      'A length that is kept must change exactly with what it counts. Here a constraint turns the mistake into a failure.',
    changes: [
      {
        file: 'services/flash-sale/store/tickets.ts',
        find: 'SET queued = s.queued - n\n',
        replace: 'SET queued = s.queued - 2 * n\n',
      },
    ],
    tests: {
      files: ['test/contract/effects.test.ts'],
      pattern: 'a ticket whose job runs again has left the queue once',
    },
    failure: 'expected 2 to be 3',
  },
];
