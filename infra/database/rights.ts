// The rights of the role of this process.
import { type Database, UnsuitableDatabase } from './port.ts';

/** A database, or one connection to it. */
export type Inspected = Pick<Database, 'kind' | 'query'>;

/** Tables that a message names. */
const NAMED = 5;

const READ_AND_WRITE = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'] as const;
/** Rights on rows that no process deletes. */
export const READ_AND_ADD = ['SELECT', 'INSERT', 'UPDATE'] as const;

/**
 * Rejects with UnsuitableDatabase unless the role has these rights on every table of the schema. An identity column needs
 * no right on its sequence.
 */
export async function assertRights(
  database: Inspected,
  schema: string,
  rights: readonly string[] = READ_AND_WRITE,
): Promise<void> {
  if (database.kind === 'pglite') return;
  const rows = await database.query<{ role: string; name: string }>(
    `SELECT current_user AS role, format('%I.%I', nspname, relname) AS name
     FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE nspname = $1 AND CASE
       WHEN NOT has_schema_privilege(pg_namespace.oid, 'USAGE') THEN relkind IN ('r', 'p', 'S')
       WHEN relkind IN ('r', 'p') THEN EXISTS (
         SELECT FROM unnest($2::text[]) AS wanted WHERE NOT has_table_privilege(pg_class.oid, wanted))
       WHEN relkind = 'S' THEN NOT has_sequence_privilege(pg_class.oid, 'USAGE')
         AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'i')
       ELSE false END
     ORDER BY name`,
    [schema, rights],
  );
  const [first] = rows;
  if (!first) return;
  const names = rows.slice(0, NAMED).map(({ name }) => name);
  const more = rows.length > NAMED ? ` and ${rows.length - NAMED} more` : '';
  throw new UnsuitableDatabase(
    `the role ${first.role} may not read and write ${names.join(', ')}${more}: grant the rights in ${GRANTS}`,
  );
}

/** Rejects with UnsuitableDatabase unless the role may create objects in this schema, and temporary tables. */
export async function assertMayCreate(database: Inspected, schema: string): Promise<void> {
  const [rights] = await database.query<{ role: string; sufficient: boolean }>(
    `SELECT current_user AS role, has_schema_privilege($1, 'CREATE')
       AND has_database_privilege(current_database(), 'TEMPORARY') AS sufficient`,
    [schema],
  );
  if (rights?.sufficient) return;
  throw new UnsuitableDatabase(
    `the role ${rights?.role} may not create sequences in the schema ${schema} and temporary tables: grant the rights in ${GRANTS}`,
  );
}

/**
 * Rejects with UnsuitableDatabase unless the role may bring this schema up to date: create it if it is missing, otherwise
 * create objects in it and change its tables.
 */
export async function assertMayMigrate(database: Inspected, schema: string): Promise<void> {
  const [rights] = await database.query<{ role: string; exists: boolean; sufficient: boolean }>(
    `SELECT current_user AS role, pg_namespace.oid IS NOT NULL AS exists,
       CASE WHEN pg_namespace.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
       ELSE has_schema_privilege(pg_namespace.oid, 'USAGE') AND has_schema_privilege(pg_namespace.oid, 'CREATE')
         AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid AND relkind IN ('r', 'p')
           AND NOT pg_has_role(relowner, 'USAGE')) END AS sufficient
     FROM (SELECT $1::name AS wanted) AS schema LEFT JOIN pg_namespace ON nspname = wanted`,
    [schema],
  );
  if (rights?.sufficient) return;
  const what = rights?.exists ? 'bring up to date' : 'create';
  throw new UnsuitableDatabase(`the role ${rights?.role} may not ${what} the schema ${schema}: ${MAY_NOT_MIGRATE}`);
}

/** The file with the statements for an administrator. */
const GRANTS = 'infra/deploy/postgres-roles.sql';

export const MAY_NOT_MIGRATE = `grant the rights in ${GRANTS}, or run \`sluice migrate\` with a role that has them and set MIGRATE=off`;
