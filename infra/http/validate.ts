// Input at the edge, checked against its schema.
import { z } from 'zod';
import { notFound } from './problem.ts';

/** The parsed value, or a ZodError (422) whose paths begin with `name` where one is given. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, name?: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues;
  throw new z.ZodError(
    name === undefined ? issues : issues.map((issue) => ({ ...issue, path: [name, ...issue.path] })),
  );
}

/** A part of a path that does not match its schema names nothing: 404. */
export function parsePath<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw notFound(what);
  return parsed.data;
}

/** In lower case, as the database answers it. */
const id = z.uuid().toLowerCase();
export const parseId = (value: unknown, what: string): string => parsePath(id, value, what);
