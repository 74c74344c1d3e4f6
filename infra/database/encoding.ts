// Values in PostgreSQL's text format.

/** The type of `bigint` columns (pg_type.oid). They are read as numbers: ours stay below 2^53. */
export const int8 = 20;

/** A parameter as PostgreSQL reads it. JSON is passed as text by the caller (see port.ts). */
export function toText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return `{${value.map(element).join(',')}}`;
  throw new TypeError(`a parameter may not be of type ${typeof value}: pass JSON as text`);
}

/** Quoted, so that commas, braces, quotes and the word NULL are themselves. */
function element(value: unknown): string {
  const text = toText(value);
  return text === null ? 'NULL' : `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}
