// The statements that choose some rows of an outbox or inbox, under the plans that PostgreSQL caches while the table is
// empty: an idle shop's tables are analyzed while they are empty, and then orders arrive.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Database, Queryable } from '../../infra/database/port.ts';
import { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import { InboxStore } from '../../infra/messaging/inbox-store.ts';
import { type Databases, databasePlaces } from '../setup/bus-fixtures.ts';
import { retryFailed } from '../setup/failed.ts';
import { createTables } from '../setup/group-consumer.ts';
import { startRelay } from '../setup/relay.ts';
import { eventually } from '../setup/wait.ts';

const ROWS = 2_000;
/** PostgreSQL keeps one plan for a statement from its sixth execution on. */
const EXECUTIONS = 8;

interface Statement {
  readonly name: string;
  readonly table: 'inbox' | 'outbox';
  /** The columns of the rows that the statement may choose, and their values. */
  readonly columns: string;
  readonly values: string;
  /** Returns a function that runs the statement on `database`. */
  readonly prepare: (database: Database, schema: string) => () => Promise<unknown>;
}

const message = 'message_id, type, subject, received_at';
const aYearAgo = `gen_random_uuid(), 'order.placed', gen_random_uuid(), now() - interval '1 year'`;

const statements: readonly Statement[] = [
  {
    name: 'the claim of a relay',
    table: 'outbox',
    columns: 'channel, event_id, type, subject, time, data',
    values: `'bus', gen_random_uuid(), 'order.placed', 'subject', now(), '{}'`,
    prepare: (database, schema) => {
      let claims = 0;
      const counted: Database = {
        ...database,
        query: (text, params) => database.query<never>(text, params).finally(() => claims++),
      };
      const { relay } = startRelay({ database: counted, schema, publish: async () => [] });
      return async () => {
        const before = claims;
        relay.wake();
        await eventually(() => claims > before, { what: 'the relay has claimed' });
      };
    },
  },
  {
    name: 'the claim of an inbox',
    table: 'inbox',
    columns: `${message}, status`,
    values: `${aYearAgo}, 'pending'`,
    prepare: (database, schema) => () => new InboxStore(schema).claimDue(database, 60_000, 100),
  },
  {
    name: 'the retry of dead messages',
    table: 'inbox',
    columns: `${message}, status, error, handled_at`,
    values: `${aYearAgo}, 'dead', 'no luck', now()`,
    prepare: (database, schema) => {
      const failed = new FailedMessages({ query: database.query, longRunning: database }, schema);
      return () => retryFailed(failed, {}, 100);
    },
  },
  {
    name: 'the pruning of done messages',
    table: 'inbox',
    columns: `${message}, status`,
    values: `${aYearAgo}, 'done'`,
    prepare: (database, schema) => () => new InboxStore(schema).pruneDone(database, 30),
  },
  {
    name: 'the pruning of dead messages',
    table: 'inbox',
    columns: `${message}, status, dead_since`,
    values: `${aYearAgo}, 'dead', now() - interval '1 year'`,
    prepare: (database, schema) => () => new InboxStore(schema).pruneDead(database, 30),
  },
  {
    name: 'the pruning of unreadable messages',
    table: 'inbox',
    columns: `${message}, status, unreadable`,
    values: `${aYearAgo}, 'dead', true`,
    prepare: (database, schema) => () => new InboxStore(schema).pruneUnreadable(database),
  },
];

describe.for(databasePlaces(inject('servers').databaseUrl))('on $place', ({ available, open }) => {
  let databases: Databases;
  beforeAll(async () => {
    if (available) databases = await open();
  });
  afterAll(() => databases?.close());

  test.runIf(available).for(statements)('$name reads each row a few times at most', async (statement) => {
    const { table, columns, values, prepare } = statement;
    const { database } = databases;
    const schema = `p_${randomUUID().replaceAll('-', '')}`;
    await createTables(database, { name: 'points', schema });
    const { measured, reads } = measuring(database, { schema, table });
    const run = prepare(measured, schema);

    await database.execute(`VACUUM ANALYZE ${schema}.${table}`);
    for (let execution = 0; execution < EXECUTIONS; execution++) await run();
    await database.execute(
      `INSERT INTO ${schema}.${table} (${columns}) SELECT ${values} FROM generate_series(1, ${ROWS})`,
    );
    await run();
    expect(Math.max(...reads)).toBeGreaterThan(99);
    expect(Math.max(...reads)).toBeLessThan(10 * ROWS);
  });
});

/** Counts for each statement how many rows of the table it reads. */
function measuring(database: Database, { schema, table }: { readonly schema: string; readonly table: string }) {
  const reads: number[] = [];
  const measure = <T>(statement: (on: Queryable) => Promise<T>) =>
    database.transaction(async (tx) => {
      const result = await statement(tx);
      const [row] = await tx.query<{ count: number }>(
        `SELECT (seq_tup_read + idx_tup_fetch)::integer AS count FROM pg_stat_xact_user_tables
         WHERE schemaname = $1 AND relname = $2`,
        [schema, table],
      );
      reads.push(row?.count ?? 0);
      return result;
    });
  const measured: Database = {
    ...database,
    query: (text, params) => measure((on) => on.query(text, params)),
    execute: (text, params) => measure((on) => on.execute(text, params)),
  };
  return { measured, reads };
}
