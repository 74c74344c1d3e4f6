/** A service's tables live in a PostgreSQL schema of its own, which no other service reads. */
export const schemaOf = (service: string) => `sluice_${service.replaceAll('-', '_')}`;
