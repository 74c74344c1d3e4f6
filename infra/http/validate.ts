// Input at the edge, checked against its schema.
import { z } from 'zod';
import { userId, uuid } from '../../contracts/text.ts';
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

/** An id in a path: what is none is answered 404. */
export function parseId(value: unknown, what: string): string {
  const parsed = uuid.safeParse(value);
  if (!parsed.success) throw notFound(what);
  return parsed.data;
}

export function parseUserId(value: unknown): string {
  const parsed = userId.safeParse(value);
  if (!parsed.success) throw notFound('user');
  return parsed.data;
}
