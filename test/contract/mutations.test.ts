// Deliberate mistakes in migrations (test/mutations) must be in what is in force: a mistake in a definition that a later
// migration replaces is noticed by no test, and says nothing about the tests.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Migration } from '../../infra/database/migrate.ts';
import { allMigrations } from '../fixtures/migrations.ts';
import { makesDifference } from '../mutations/in-force.ts';
import { type Change, changed } from '../mutations/mutation.ts';
import { mutations } from '../mutations/mutations.ts';
import { type Databases, pgliteInFolder, postgresAt } from '../setup/bus-fixtures.ts';

const { databaseUrl } = inject('servers');

describe('a mistake in a migration', () => {
  const inMigrations = mutations.flatMap(({ name, changes }) =>
    changes.filter(({ file }) => file.endsWith('.sql')).map((change) => [name, change] as const),
  );
  let databases: Databases;
  let all: readonly Migration[];
  beforeAll(async () => {
    databases = await (databaseUrl ? postgresAt(databaseUrl) : pgliteInFolder());
    all = await allMigrations();
  });
  afterAll(() => databases?.close());

  /** Those of the schema that the change is in, and the same with the change. */
  async function isInForce(change: Change, later: readonly Migration[] = []): Promise<boolean> {
    const [, set = 'messaging', file] =
      /(?:services\/([^/]+)\/store|infra\/messaging)\/migrations\/(.+)/.exec(change.file) ?? [];
    const ofSchema = all.filter(({ name }) => name.startsWith('messaging/') || name.startsWith(`${set}/`));
    expect(ofSchema.map(({ name }) => name)).toContain(`${set}/${file}`);
    const changedOnes = ofSchema.map((migration) =>
      migration.name === `${set}/${file}` ? { ...migration, sql: changed(migration.sql, change) } : migration,
    );
    return makesDifference(databases.database, [...ofSchema, ...later], [...changedOnes, ...later]);
  }

  test.for(inMigrations)('%s is in force: no later migration defines the same anew', async ([, change]) => {
    expect(await isInForce(change)).toBe(true);
  });

  test.for([
    ['a constraint', 'no-business-key', 'ALTER TABLE entries DROP CONSTRAINT IF EXISTS one_entry_per_order_and_kind'],
    [
      'a function',
      'step-moves-down',
      'CREATE OR REPLACE FUNCTION furthest(known jsonb, reported jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN known',
    ],
  ] as const)('is not in force once a later one defines %s anew', async ([, name, sql]) => {
    const [, change] = inMigrations.find(([mistake]) => mistake === name) ?? [];
    expect(await isInForce(change as Change, [{ name: 'later/999.sql', sql }])).toBe(false);
  });
});
