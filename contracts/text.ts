// The fields that several contracts share. Every part of the system can store a `text`: PostgreSQL stores no U+0000,
// and a lone surrogate has no UTF-8 form.
import { z } from 'zod';

/** The message for a missing value, for all schemas of the process. */
z.config({ customError: ({ input }) => (input === undefined ? 'is required' : undefined) });

const storable = (value: string) => !value.includes('\u0000') && value.isWellFormed();

/** A string of `min` to `max` characters (UTF-16 units) without NUL and without lone surrogates. */
export const text = (min: number, max: number) =>
  z.string().min(min).max(max).refine(storable, 'must not contain NUL or a lone surrogate');

export const userId = z
  .string()
  .regex(/^[A-Za-z0-9_.:@-]{1,64}$/, 'must be 1 to 64 characters of A-Z a-z 0-9 _ . : @ -');

export const count = z.int().min(0);

/** A whole number in a query string. `max` has at most nine digits. */
export function integerText(min: number, max: number) {
  const message = `must be an integer from ${min} to ${max}`;
  const digits = z.string().regex(/^\d{1,9}$/, message);
  return digits.transform(Number).pipe(z.int().min(min, message).max(max, message));
}

/** ISO 8601 in UTC. The times that services produce are from the database's clock. */
export const instant = z.iso.datetime();

/** An id made by this system. In lower case, as the database returns it, so that equal ids are equal strings. */
export const uuid = z.uuid().toLowerCase();
