/** A service's tables live in a PostgreSQL schema of its own, which no other service reads. */
export const schemaOf = (service: string) => `sluice_${service.replaceAll('-', '_')}`;

/** The folder of a service's numbered SQL files. */
export const migrationsOf = (service: string) => new URL(`../services/${service}/store/migrations/`, import.meta.url);
