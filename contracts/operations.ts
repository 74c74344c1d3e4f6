// /failed-messages/:service and the routes below it; GET /healthz, GET /readyz
import { z } from 'zod';
import { pageQuery, pageSchema } from './pages.ts';
import { count, instant, integerText, moment, text, uuid } from './text.ts';

/** The largest `limit` of one retry call. */
export const MAX_RETRY_LIMIT = 1_000;
/** Ten years. */
export const MAX_AGE_SECONDS = 315_360_000;

const filter = {
  status: z.enum(['retrying', 'dead']).optional(),
  type: text(1, 200).optional(),
  error: text(1, 1_000).optional().describe('A substring of the error, without wildcards.'),
  olderThanSeconds: integerText(0, MAX_AGE_SECONDS)
    .optional()
    .describe('The age since the message was received, by the database’s clock.'),
  newerThanSeconds: integerText(0, MAX_AGE_SECONDS).optional(),
};
export const failedMessagesQuery = pageQuery.extend(filter);
/** Strict, because a misspelt filter would retry everything. */
export const retryQuery = z.strictObject({
  ...filter,
  dryRun: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .default(false)
    .describe('Counts the messages that match and changes nothing.'),
  limit: integerText(1, MAX_RETRY_LIMIT)
    .optional()
    .describe('Retries the oldest first. Without a limit, the call retries all and waits up to 2 s for busy messages.'),
  failedBefore: moment
    .refine((value) => value >= '1970', 'must not be before 1970')
    .optional()
    .describe(
      'Only messages that last failed, or were last retried, before this time. With `asOf` of a dry run, a run of several calls retries no message twice.',
    ),
});

/** The response to a dry run. */
export const retryPreview = z.object({
  matching: count.describe('Messages that match and can be retried.'),
  truncated: count.describe('Messages that match and are too large to be retried: see `truncated` of a message.'),
  asOf: z.string().describe('The database’s time of this count, to the microsecond.'),
});
export type RetryPreview = z.infer<typeof retryPreview>;

export const retryResult = z.object({
  retried: count.describe('Messages that were given fresh attempts.'),
  left: count.describe(
    'Messages that match and that this call (or this run of calls) has not retried: they exceed the `limit`, or they are locked or being attempted.',
  ),
  truncated: count.describe('Messages that match and are too large to be retried: see `truncated` of a message.'),
});
export type RetryResult = z.infer<typeof retryResult>;

/** The response to a retry of one message. */
export const retriedOne = z.object({ retried: z.literal(1) });

export const failedMessage = z.object({
  id: uuid.describe('The event’s id.'),
  type: z.string().nullable(),
  subject: z.string().nullable(),
  status: z.enum(['retrying', 'dead']),
  attempts: count,
  error: z.string().nullable(),
  nextAttemptAt: instant.nullable(),
  receivedAt: instant,
  payload: z.string().describe('As it arrived, its first 64 KiB; bytes that are not UTF-8 are shown as U+FFFD.'),
  payloadBytes: count.describe('The size of the message as it arrived.'),
  truncated: z.boolean().describe('The message exceeded 64 KiB. The rest is not stored, so it cannot be retried.'),
});
export type FailedMessage = z.infer<typeof failedMessage>;
export const failedMessagesPage = pageSchema(failedMessage);

const status = z.enum(['up', 'degraded', 'down']);

/**
 * `stalled`: the services whose consumer or drain is stalled although it was rebuilt, or whose worker thread does not
 * reply.
 */
export const health = z.object({ status, stalled: z.array(z.string()) });
export type Health = z.infer<typeof health>;

const resourceState = z.object({ status, detail: z.string().optional() });
export type ResourceState = z.infer<typeof resourceState>;

const consumerState = resourceState.extend({
  backlog: count
    .nullable()
    .describe('Messages that wait or are under way; null if the database or the broker does not report it.'),
  lastProgressAt: instant
    .nullable()
    .describe('When a message’s outcome was last recorded; null before the first one since the process started.'),
});
export type ConsumerState = z.infer<typeof consumerState>;

/** Work in the background that has failed at least five times in a row. */
const loopState = z.object({
  service: z.string().nullable().describe('Null if the work belongs to no service.'),
  loop: z.string(),
  status: z.literal('degraded'),
  failures: count.describe('In a row.'),
  failingSince: instant.describe('When the first of them happened.'),
  error: z.string().describe('The last error, without addresses.'),
});
export type LoopState = z.infer<typeof loopState>;

export const readiness = z.object({
  status,
  resources: z.record(z.string(), resourceState),
  consumers: z.record(z.string(), consumerState),
  loops: z.array(loopState).default([]).describe('Only those that are degraded.'), // a response of 0.2.0 has none
});
export type Readiness = z.infer<typeof readiness>;
