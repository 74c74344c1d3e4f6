-- Two roles for a database: sluice_migrator owns the schemas and runs `sluice migrate`; sluice_app runs `sluice start`
-- with MIGRATE=off, and may only read and write rows; in the schema bullmq, it creates a sequence for each queue. Neither
-- may create schemas.
--
--   psql -d <database> -v ON_ERROR_STOP=1 --single-transaction -f infra/deploy/postgres-roles.sql
--
-- Run it as a superuser, before the first start and again after an upgrade that adds a schema. Then give both roles a
-- password (\password sluice_app). What an earlier start has created in these schemas is then sluice_migrator's.
--
-- Behind PgBouncer, both roles need pool_mode=session.

DO $$
DECLARE
  role text;
  schema text;
  sequence text;
  change text;
BEGIN
  FOREACH role IN ARRAY ARRAY['sluice_migrator', 'sluice_app'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
      EXECUTE format('CREATE ROLE %I LOGIN', role);
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
  END LOOP;

  -- One schema per service, sluice_admin for what operators change, and bullmq for the job queue of the flash sales, which is not needed with REDIS_URL.
  FOREACH schema IN ARRAY ARRAY[
    'sluice_order', 'sluice_points', 'sluice_coupon', 'sluice_notify', 'sluice_flash_sale', 'sluice_admin',
    'bullmq'
  ] LOOP
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
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO sluice_app', schema);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO sluice_app', schema);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO sluice_app', schema);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO sluice_app', schema);
    -- For what later migrations create.
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE sluice_migrator IN SCHEMA %I '
      'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO sluice_app', schema);
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE sluice_migrator IN SCHEMA %I '
      'GRANT USAGE ON SEQUENCES TO sluice_app', schema);
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE sluice_migrator IN SCHEMA %I '
      'GRANT EXECUTE ON FUNCTIONS TO sluice_app', schema);
  END LOOP;

  -- BullMQ creates and drops the sequences, and makes temporary tables.
  GRANT CREATE ON SCHEMA bullmq TO sluice_app;
  EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO sluice_app', current_database());
  FOR sequence IN
    SELECT relname FROM pg_class
    WHERE relnamespace = 'bullmq'::regnamespace AND relkind = 'S' AND starts_with(relname, 'bullmq_jid_')
  LOOP
    EXECUTE format('ALTER SEQUENCE bullmq.%I OWNER TO sluice_app', sequence);
  END LOOP;
END
$$;
