/** The reason that an error gives, for logs and stored errors. A host with several addresses has an error for each: the first counts. */
export function reasonOf(error: unknown): string {
  const first: unknown = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  return first instanceof Error ? first.message || first.name : String(first);
}
