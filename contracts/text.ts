// The fields that several contracts share. Every part of the system can store a `text`: PostgreSQL stores no U+0000,
// and a lone surrogate has no UTF-8 form.
import { z } from 'zod';

/** The messages for missing, repeated and unknown fields, for all schemas of the process. */
z.config({
  customError(issue) {
    // infra/http/problem.ts makes an error of each unknown field, with the known names, one in each line. They are not
    // compared here, because this runs for every item of a request, and only a few errors are sent.
    if (issue.code === 'unrecognized_keys' && issue.inst instanceof z.ZodObject)
      return Object.keys(issue.inst.shape).join('\n');
    if (issue.code === 'invalid_type' && issue.expected === 'string' && Array.isArray(issue.input))
      return 'must be one text, not several'; // such as a field that a form has twice
    return issue.input === undefined ? 'is required' : undefined;
  },
});

const storable = (value: string) => !value.includes('\u0000') && value.isWellFormed();

/** A string of `min` to `max` characters (UTF-16 units) without NUL and without lone surrogates. */
export const text = (min: number, max: number) =>
  z
    .string()
    .min(min)
    .max(max)
    .refine(storable, 'must not contain NUL or a lone surrogate')
    .meta({ description: 'Without NUL and lone surrogates.' });

export const userId = z
  .string()
  .regex(/^[A-Za-z0-9_.:@-]{1,64}$/, 'must be 1 to 64 characters of A-Z a-z 0-9 _ . : @ -')
  .meta({ description: 'The id of a user.' });

export const count = z.int().min(0);

/** A whole number in a query string. `max` has at most nine digits. */
export function integerText(min: number, max: number) {
  const message = `must be an integer from ${min} to ${max}`;
  const digits = z.string().regex(/^\d{1,9}$/, message);
  return digits.transform(Number).pipe(z.int().min(min, message).max(max, message));
}

/** ISO 8601 in UTC. The times that services produce are from the database's clock. */
export const instant = z.iso.datetime().meta({ description: 'ISO 8601 in UTC.' });

/**
 * A time in a request: ISO 8601 with its zone, in the forms that languages and databases print. Becomes UTC to the
 * microsecond, as PostgreSQL stores it, so that equal times are equal strings and sort as such.
 */
export const moment = z.string().transform((value, context) => {
  const utc = utcOf(value);
  if (utc !== undefined) return utc;
  context.addIssue('must be a time with its zone, such as 2026-11-27T20:00:00Z or 2026-11-27T21:00:00+01:00');
  return z.NEVER;
});

const MOMENT = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(\.\d{1,9})?(?:Z|([+-]\d\d)(?::?(\d\d))?)$/i;
const strict = z.iso.datetime({ offset: true });

function utcOf(value: string): string | undefined {
  const [, day, minute, second = ':00', fraction = '.0', hours = '+00', minutes = '00'] = MOMENT.exec(value) ?? [];
  const seconds = `${day}T${minute}${second}${hours}:${minutes}`;
  if (!strict.safeParse(seconds).success) return undefined;
  const micros = Math.round(Number(`0${fraction}`) * 1e6);
  const whole = new Date(Date.parse(seconds) + (micros === 1e6 ? 1_000 : 0)).toISOString();
  return `${whole.replace(/\.\d+Z$/, '')}.${String(micros % 1e6).padStart(6, '0')}Z`;
}

/** An id made by this system. In lower case, as the database returns it, so that equal ids are equal strings. */
export const uuid = z.uuid().toLowerCase();
