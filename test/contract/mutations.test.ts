// A mutation of a migration (test/mutations) must change the final schema: if a later migration redefines the same
// object, no test can detect the mutation.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Migration } from '../../infra/database/migrate.ts';
import { allMigrations } from '../fixtures/migrations.ts';
import { type Change, changed } from '../mutations/mutation.ts';
import { mutations } from '../mutations/mutations.ts';
import { makesDifference } from '../mutations/schema-difference.ts';
import { type Databases, openDatabases } from '../setup/bus-fixtures.ts';

const { databaseUrl } = inject('servers');

describe('a mutation of a migration', () => {
  const inMigrations = mutations.flatMap(({ name, changes }) =>
    changes.filter(({ file }) => file.endsWith('.sql')).map((change) => [name, change] as const),
  );
  let databases: Databases;
  let all: readonly Migration[];
  beforeAll(async () => {
    databases = await openDatabases(databaseUrl);
    all = await allMigrations();
  });
  afterAll(() => databases?.close());

  /** Whether the change alters the schema that its own migrations and the `later` ones make. */
  async function takesEffect(change: Change, later: readonly Migration[] = []): Promise<boolean> {
    const [, set = 'messaging', file] =
      /(?:services\/([^/]+)\/store|infra\/messaging)\/migrations\/(.+)/.exec(change.file) ?? [];
    const ofSchema = all.filter(({ name }) => name.startsWith('messaging/') || name.startsWith(`${set}/`));
    expect(ofSchema.map(({ name }) => name)).toContain(`${set}/${file}`);
    const mutated = ofSchema.map((migration) =>
      migration.name === `${set}/${file}` ? { ...migration, sql: changed(migration.sql, change) } : migration,
    );
    return makesDifference(databases.database, [...ofSchema, ...later], [...mutated, ...later]);
  }

  test.for(inMigrations)('%s takes effect: no later migration redefines the same object', async ([, change]) => {
    expect(await takesEffect(change)).toBe(true);
  });

  test.for([
    ['a constraint', 'no-business-key', 'ALTER TABLE entries DROP CONSTRAINT IF EXISTS one_entry_per_order_and_kind'],
    [
      'a function',
      'step-moves-down',
      'CREATE OR REPLACE FUNCTION furthest(known jsonb, reported jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN known',
    ],
  ] as const)('takes no effect if a later migration redefines %s', async ([, name, sql]) => {
    const [, change] = inMigrations.find(([mutation]) => mutation === name) ?? [];
    expect(await takesEffect(change as Change, [{ name: 'later/999.sql', sql }])).toBe(false);
  });
});
