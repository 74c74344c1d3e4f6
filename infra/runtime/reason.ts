/** The reason that an error gives, for logs and stored errors. A host with several addresses has an error for each: the first counts. */
export function reasonOf(error: unknown): string {
  const first: unknown = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  return first instanceof Error ? first.message || first.name : String(first);
}

const MAX_PUBLIC_LENGTH = 300;

/**
 * The same for public responses: one line, without the addresses and URLs that an error may name, because they show how
 * a network is built.
 */
export function publicReasonOf(error: unknown): string {
  const text = reasonOf(error)
    .replace(/\s+/g, ' ')
    .replace(/\b[a-z][a-z0-9+.-]*:\/\/[^\s'"]+/gi, '<url>')
    // What system calls name: "connect ECONNREFUSED 127.0.0.1:5432", "getaddrinfo ENOTFOUND db.internal".
    .replace(/\b(E[A-Z_]{3,}) \S+/g, '$1 <address>')
    .replace(/\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b/g, '<address>')
    .replace(/(?<![\w:])(?!\d\d:\d\d:\d\d\b)(?=[\da-f:]*:[\da-f:]*:)[\da-f:]{3,}(?:%\w+)?/gi, '<address>')
    .replace(/\b[\w-]+(?:\.[\w-]+)+:\d+\b/g, '<address>');
  return text.length > MAX_PUBLIC_LENGTH ? `${text.slice(0, MAX_PUBLIC_LENGTH)}…` : text;
}
