// Checks input against its schema.
import { z } from 'zod';
import { notFound } from './problem.ts';

/** Returns the parsed value, or throws a ZodError (422) whose paths begin with `name` if given. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, name?: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues;
  throw new z.ZodError(
    name === undefined ? issues : issues.map((issue) => ({ ...issue, path: [name, ...issue.path] })),
  );
}

/** Throws 404 for a path segment that does not match its schema, because no resource can have that name. */
export function parsePath<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw notFound(what);
  return parsed.data;
}

/** In lower case, as in the database. */
const id = z.uuid().toLowerCase();
export const parseId = (value: unknown, what: string): string => parsePath(id, value, what);
