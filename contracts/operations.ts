// GET /failed-messages/:service, one of them, and the retry calls; GET /readyz
import { z } from 'zod';
import { pageQuery } from './pages.ts';
import { text } from './text.ts';

/** Messages that one retry call with a `limit` takes at the most. */
export const MAX_RETRY_LIMIT = 1_000;
/** Ten years. */
export const MAX_AGE_SECONDS = 315_360_000;

/** A whole number in a query string. */
const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, `must be an integer from ${min} to ${max}`)
    .transform(Number)
    .pipe(z.int().min(min).max(max));

const filter = {
  status: z.enum(['retrying', 'dead']).optional(),
  type: text(1, 200).optional(),
  /** A part of the error, taken literally. */
  error: text(1, 1_000).optional(),
  /** Received longer ago than this, by the database's clock. */
  olderThanSeconds: integer(0, MAX_AGE_SECONDS).optional(),
  newerThanSeconds: integer(0, MAX_AGE_SECONDS).optional(),
};
export const failedMessagesQuery = pageQuery.extend(filter);
/** Strict: a filter that is misspelt would retry everything. */
export const retryQuery = z.strictObject({
  ...filter,
  /** Says how many there are, and changes nothing. */
  dryRun: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .default(false),
  /** At most so many, the oldest first. Without it, all of them; the call then waits up to 2 s for busy ones. */
  limit: integer(1, MAX_RETRY_LIMIT).optional(),
  /**
   * Only messages that last failed, or were last retried, before this: `asOf` of a dry run. So a run of several calls
   * retries none twice.
   */
  failedBefore: z.iso
    .datetime({ precision: 6 })
    .refine((value) => value >= '1970', 'must not be before 1970')
    .optional(),
});

/** What a dry run answers. */
export interface RetryPreview {
  /** Messages that match and can be retried. */
  readonly matching: number;
  /** Messages that match and cannot: see FailedMessage. */
  readonly truncated: number;
  /** The database's time of this count, to the microsecond. */
  readonly asOf: string;
}

export interface RetryResult {
  /** Messages that were given fresh attempts. */
  readonly retried: number;
  /**
   * Messages that match and that this call, or this run of calls, has not retried: beyond the `limit`, or busy, which is
   * locked or being attempted.
   */
  readonly left: number;
  /** Messages that match and cannot be retried: see FailedMessage. */
  readonly truncated: number;
}

export interface FailedMessage {
  /** The event's id. */
  readonly id: string;
  readonly type: string | null;
  readonly subject: string | null;
  readonly status: 'retrying' | 'dead';
  readonly attempts: number;
  readonly error: string | null;
  readonly nextAttemptAt: string | null;
  readonly receivedAt: string;
  /** As it arrived, its first 64 KiB; bytes that are not UTF-8 are shown as U+FFFD. */
  readonly payload: string;
  /** The size of the message as it arrived. */
  readonly payloadBytes: number;
  /** It was larger than 64 KiB, and the rest is not stored: it cannot be retried. */
  readonly truncated: boolean;
}

export interface ResourceState {
  readonly status: 'up' | 'degraded' | 'down';
  readonly detail?: string;
}
export interface ConsumerState extends ResourceState {
  /** Messages that wait or are under way; null while the database or the broker does not tell. */
  readonly backlog: number | null;
  /** When a message's outcome was last recorded; null before the first one since the process started. */
  readonly lastProgressAt: string | null;
}
export interface Readiness {
  readonly status: 'up' | 'degraded' | 'down';
  readonly resources: Readonly<Record<string, ResourceState>>;
  readonly consumers: Readonly<Record<string, ConsumerState>>;
}
