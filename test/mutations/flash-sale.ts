// Mutations of the gateway and of the counters of a flash sale.
import type { Mutation } from './mutation.ts';

const MIGRATION = 'services/flash-sale/store/migrations/001_flash_sale.sql';
const BURST = { files: ['test/fault/flash-sale-burst.test.ts'], pattern: '^ten times the cap in one burst' };

/** Makes the admissions of four gateways wait for each other at this point, at most half a second. */
const UNTIL_ALL_HAVE_CHECKED = `
  PERFORM pg_advisory_xact_lock_shared(4711);
  FOR turn IN 1..50 LOOP
    EXIT WHEN (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) >= 4;
    PERFORM pg_sleep(0.01);
  END LOOP;`;

export const flashSaleMutations: readonly Mutation[] = [
  {
    name: 'gateway-takes-a-part',
    lesson: 'A body may arrive in pieces: a fast path that takes the first one for all of it answers another request.',
    changes: [
      {
        file: 'infra/http/small-body.ts',
        find: 'request.readableLength !== bytes',
        replace: 'request.readableLength === 0',
      },
    ],
    tests: { files: ['test/contract/flash-sale-front.test.ts'], pattern: 'a body that arrives in pieces' },
    failure: 'to be 200',
  },
  {
    name: 'handle-while-reading',
    lesson:
      'While 1,024 sockets are ready, libuv reads on. Responses sent meanwhile bring the next requests, without end.',
    changes: [
      {
        file: 'infra/http/server.ts',
        find: 'if (this.#arrived.push([request, response]) === 1) setImmediate(() => this.#handleArrived());',
        replace: 'this.#arrived.push([request, response]);\n      this.#handleArrived();',
      },
    ],
    tests: { files: ['test/service/http-server.test.ts'], pattern: 'at most one request per connection' },
    failure: 'to be less than or equal to 1500',
  },
  {
    name: 'check-then-add',
    lesson: 'Between reading a counter and adding one, others read the same value: cap and stock are exceeded.',
    changes: [
      {
        file: MIGRATION,
        find: 'WHERE id = the_sale FOR NO KEY UPDATE;',
        replace: `WHERE id = the_sale; ${UNTIL_ALL_HAVE_CHECKED}`,
      },
      // The constraints would keep the counters correct without the lock.
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
      'One ticket per user is guaranteed only if the admission checks the live tickets and a unique index backs it.',
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
      'A stored length must change exactly with the rows that it counts; a constraint turns the mistake into an error.',
    changes: [
      {
        file: 'services/flash-sale/store/tickets.ts',
        find: "updateTotals('accepted', 'queued = s.queued - n')",
        replace: "updateTotals('accepted', 'queued = s.queued - 2 * n')",
      },
    ],
    tests: {
      files: ['test/contract/effects.test.ts'],
      pattern: 'a ticket leaves the queue once if its job runs twice',
    },
    failure: 'expected 2 to be 3',
  },
];
