-- Roles for a database, none of which may do more than it needs:
--
--   sluice_migrator     owns the schemas and runs `sluice migrate`.
--   sluice_order, sluice_points, sluice_coupon, sluice_notify, sluice_flash_sale
--                       each runs `sluice start` for its service with MIGRATE=off: reads and writes the rows of the schema
--                       of the same name; adds to and updates, but never deletes, the records of operators' actions in sluice_admin.
--   sluice_app          runs all services, or several, in one process with MIGRATE=off. The local event bus needs it,
--                       because it writes to the inboxes of other services.
--
--   psql -d <database> -v ON_ERROR_STOP=1 --single-transaction -f infra/deploy/postgres-roles.sql
--
-- Run it as a superuser, before the first start and again after an upgrade that adds a schema, or to change between
-- sluice_app and sluice_flash_sale. Then give the roles passwords (\password sluice_app). What an earlier start has
-- created in these schemas is then sluice_migrator's.
--
-- Behind PgBouncer, the roles need pool_mode=session.

-- As PostgreSQL 15 and newer have it. Otherwise, every role may create tables in the schema public.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

DO $$
DECLARE
  -- One schema per service, and its role of the same name.
  services CONSTANT text[] := ARRAY['sluice_order', 'sluice_points', 'sluice_coupon', 'sluice_notify', 'sluice_flash_sale'];
  -- For the records of operators' actions, which no process deletes; and for the job queue of the flash sales, which is
  -- not needed with REDIS_URL.
  shared CONSTANT text[] := ARRAY['sluice_admin', 'bullmq'];
  role text;
  schema text;
  users text;
  rights text;
  change text;
BEGIN
  FOREACH role IN ARRAY services || ARRAY['sluice_migrator', 'sluice_app'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
      EXECUTE format('CREATE ROLE %I LOGIN', role);
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
  END LOOP;
  EXECUTE format('GRANT %s TO sluice_app', array_to_string(services, ', '));

  FOREACH schema IN ARRAY services || shared LOOP
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION sluice_migrator', schema);
    EXECUTE format('ALTER SCHEMA %I OWNER TO sluice_migrator', schema);
    FOR change IN
      -- The indexes, and the sequences of columns, follow their tables.
      SELECT format('ALTER TABLE %s OWNER TO sluice_migrator', c.oid::regclass) FROM pg_class c
      WHERE c.relnamespace = schema::regnamespace AND (c.relkind IN ('r', 'p', 'v', 'm') OR c.relkind = 'S' AND NOT EXISTS
        (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
      UNION ALL SELECT format('ALTER ROUTINE %s OWNER TO sluice_migrator', oid::regprocedure) FROM pg_proc
      WHERE pronamespace = schema::regnamespace
      UNION ALL SELECT format('ALTER TYPE %s OWNER TO sluice_migrator', oid::regtype) FROM pg_type
      WHERE typnamespace = schema::regnamespace AND typtype IN ('e', 'd')
    LOOP
      EXECUTE change;
    END LOOP;
    users := CASE schema
      WHEN 'sluice_admin' THEN array_to_string(services, ', ')
      WHEN 'bullmq' THEN 'sluice_flash_sale'
      ELSE schema END;
    rights := CASE schema WHEN 'sluice_admin' THEN 'SELECT, INSERT, UPDATE' ELSE 'SELECT, INSERT, UPDATE, DELETE' END;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s', schema, users);
    EXECUTE format('GRANT %s ON ALL TABLES IN SCHEMA %I TO %s', rights, schema, users);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO %s', schema, users);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO %s', schema, users);
    -- For what later migrations create.
    change := format('ALTER DEFAULT PRIVILEGES FOR ROLE sluice_migrator IN SCHEMA %I GRANT ', schema);
    EXECUTE format('%s %s ON TABLES TO %s', change, rights, users);
    EXECUTE format('%s USAGE ON SEQUENCES TO %s', change, users);
    EXECUTE format('%s EXECUTE ON FUNCTIONS TO %s', change, users);
  END LOOP;

  -- BullMQ creates and drops the sequences, and makes temporary tables.
  GRANT CREATE ON SCHEMA bullmq TO sluice_flash_sale;
  EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO sluice_flash_sale', current_database());
  FOR change IN
    SELECT format('ALTER SEQUENCE %s OWNER TO sluice_flash_sale', oid::regclass) FROM pg_class
    WHERE relnamespace = 'bullmq'::regnamespace AND relkind = 'S' AND starts_with(relname, 'bullmq_jid_')
  LOOP
    EXECUTE change;
  END LOOP;
END
$$;
