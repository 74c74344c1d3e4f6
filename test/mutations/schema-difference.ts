// Whether two versions of a set of migrations make different schemas. A mutation makes no difference if a later
// migration redefines the same function, constraint, column or index; then no test can detect it.
import type { Migration } from '../../infra/database/migrate.ts';
import { migrate } from '../../infra/database/migrate.ts';
import type { Database } from '../../infra/database/port.ts';

/** The objects of a schema, as PostgreSQL writes them. */
const DEFINITIONS = `
  SELECT 'column ' || table_name || ' ' || concat_ws(' ', column_name, data_type, is_nullable, column_default,
    generation_expression) AS definition FROM information_schema.columns WHERE table_schema = $1
  UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = $1::regnamespace
  UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relnamespace = $1::regnamespace
  UNION ALL SELECT 'settings ' || relname || ' ' || reloptions::text FROM pg_class
    WHERE relnamespace = $1::regnamespace AND reloptions IS NOT NULL
  UNION ALL SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = $1::regnamespace
  UNION ALL SELECT 'trigger ' || pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = $1::regnamespace AND NOT tgisinternal
  ORDER BY definition`;

let schemas = 0;

/** The definitions that migrations make in a new schema, with its name replaced. */
async function definitions(database: Database, migrations: readonly Migration[]): Promise<string> {
  schemas += 1;
  const schema = `difference_${schemas}_`;
  await migrate(database, schema, migrations);
  const rows = await database.query<{ definition: string }>(DEFINITIONS, [schema]);
  return rows.map(({ definition }) => definition.replaceAll(schema, 'schema')).join('\n');
}

/** Whether migrations of the same names make another schema. */
export async function makesDifference(
  database: Database,
  migrations: readonly Migration[],
  others: readonly Migration[],
): Promise<boolean> {
  return (await definitions(database, migrations)) !== (await definitions(database, others));
}
