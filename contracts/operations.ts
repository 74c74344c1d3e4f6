// /failed-messages/:service and the routes below it; GET /operator-actions, GET /healthz, GET /readyz
import { z } from 'zod';
import { pageQuery, pageSchema } from './pages.ts';
import { serviceNames } from './services.ts';
import { count, instant, integerText, moment, text, uuid } from './text.ts';

/** The largest `limit` of one retry call. */
export const MAX_RETRY_LIMIT = 1_000;
/** Ten years. */
export const MAX_AGE_SECONDS = 315_360_000;

const filter = {
  type: text(1, 200).optional(),
  error: text(1, 1_000).optional().describe('A substring of the error, without wildcards.'),
  group: uuid.optional().describe('The id of a group of errors.'),
  olderThanSeconds: integerText(0, MAX_AGE_SECONDS)
    .optional()
    .describe('The age since the message was received, by the database’s clock.'),
  newerThanSeconds: integerText(0, MAX_AGE_SECONDS).optional(),
};
/** Without a status, the list has retrying and dead messages. */
export const failedMessagesQuery = pageQuery.extend({
  status: z.enum(['retrying', 'dead', 'discarded']).optional(),
  ...filter,
});

const notBefore1970 = moment.refine((value) => value >= '1970', 'must not be before 1970').optional();
const run = uuid
  .optional()
  .describe('A UUID that the client chooses. Each run retries a message at most once, in however many calls.');

/** Strict, because a misspelt filter would retry everything. A discarded message is only retried by its id. */
export const retryQuery = z.strictObject({
  status: z.enum(['retrying', 'dead']).optional(),
  ...filter,
  dryRun: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .default(false)
    .describe('Counts the messages that match and changes nothing.'),
  limit: integerText(1, MAX_RETRY_LIMIT)
    .optional()
    .describe(
      'Retries the oldest first. Without a limit, the call retries all and waits for busy messages: see `left`.',
    ),
  run,
  asOf: notBefore1970.describe(
    'Only messages that were received before this time, from which ages count, too: the `asOf` of a dry run. Not before 1970.',
  ),
  failedBefore: notBefore1970.describe(
    'Only messages that last failed, or were last retried, before this time. Not before 1970.',
  ),
});

/** The response to a dry run. */
export const retryPreview = z.object({
  matching: count.describe('Messages that match and can be retried.'),
  truncated: count.describe('Messages that match and cannot be retried: those larger than 64 KiB.'),
  asOf: z.string().describe('The database’s time of this count, to the microsecond.'),
});
export type RetryPreview = z.infer<typeof retryPreview>;

export const retryResult = z.object({
  retried: count.describe('Messages that were given fresh attempts.'),
  left: count.describe(
    'Messages that match and that this call (or this run of calls) has not retried: they exceed the `limit`, or they are locked or being attempted. A call without a limit waits for the latter until none was free for 2 s.',
  ),
  truncated: count.describe('Messages that match and cannot be retried: those larger than 64 KiB.'),
});
export type RetryResult = z.infer<typeof retryResult>;

/** The messages of a run, without those that another run has retried since. */
export const retryProgress = z.object({
  waiting: count.describe('They have attempts left.'),
  succeeded: count,
  failed: count.describe('They are dead again.'),
});
export type RetryProgress = z.infer<typeof retryProgress>;

/** Of a retry of one message. */
export const retryOneQuery = z.strictObject({ run });
/** `data`: a corrected copy of the event's data, which is handled in place of the original. */
export const retryOneRequest = z.strictObject({ data: z.record(z.string(), z.unknown()).optional() });

/** The response to a retry of one message. */
export const retriedOne = z.object({ retried: z.literal(1) });

export const discardRequest = z.strictObject({ reason: text(1, 200) });

const failedMessage = z
  .object({
    id: uuid.describe('The event’s id.'),
    type: z.string().nullable(),
    subject: z.string().nullable(),
    status: z.enum(['retrying', 'dead', 'discarded']),
    attempts: count,
    error: z.string().nullable(),
    group: uuid.nullable().default(null).describe('The group of its error; a response of 0.2.0 has none.'),
    nextAttemptAt: instant.nullable(),
    receivedAt: instant,
    discardedAt: instant.nullable().default(null).describe('Both are null unless it is discarded.'),
    discardReason: z.string().nullable().default(null),
    payload: z.string().describe('As it arrived, its first 64 KiB; bytes that are not UTF-8 are shown as U+FFFD.'),
    payloadBytes: count.describe('The size of the message as it arrived.'),
    truncated: z.boolean().describe('The message exceeded 64 KiB. The rest is not stored, so it cannot be retried.'),
    corrected: z.boolean().default(false).describe('Whether an operator has corrected its data.'),
  })
  .meta({ id: 'FailedMessage' });
export type FailedMessage = z.infer<typeof failedMessage>;
export const failedMessagesPage = pageSchema(failedMessage);

/** One message. A corrected one is shown until its retention ends, also when it is `done`. */
export const failedMessageDetails = failedMessage
  .extend({
    status: z.enum([...failedMessage.shape.status.options, 'done']),
    correctedPayload: z
      .string()
      .nullable()
      .default(null)
      .describe('The event with the corrected data, which is handled in place of `payload`.'),
  })
  .meta({ id: 'FailedMessageDetails' });
export type FailedMessageDetails = z.infer<typeof failedMessageDetails>;

/** Retrying and dead messages of one type whose errors differ only in ids and numbers. */
const errorGroup = z.object({
  id: uuid,
  type: z.string().nullable(),
  error: z.string().nullable().describe('With `<id>` and `<n>` for ids and numbers.'),
  dead: count,
  retrying: count,
  oldestAt: instant.describe('When the first and the last of them were received.'),
  newestAt: instant,
  example: z.object({ id: uuid, error: z.string().nullable() }).describe('The newest message.'),
});
export type ErrorGroup = z.infer<typeof errorGroup>;
/** The groups with the newest messages first. */
export const errorGroupsPage = pageSchema(errorGroup);

export const operatorActionsQuery = pageQuery.extend({ service: z.enum(serviceNames).optional() });

/** A change that an operator has made. */
const operatorAction = z.object({
  id: uuid,
  at: instant,
  updatedAt: instant
    .nullable()
    .describe('Of an action in several calls, such as a long run of retries: when the latest of them was.'),
  who: z.string().describe('The operator: `local` without access control.'),
  from: z.string().describe('The client’s address.'),
  action: z.string().describe('Such as `failed-message.discard` or `order.cancel`. Newer versions have more.'),
  service: z.string(),
  target: z.string().nullable().describe('The id of what was changed; null for several.'),
  details: z.record(z.string(), z.unknown()).describe('The request: a reason, a filter, the ids.'),
  before: z
    .record(z.string(), z.unknown())
    .nullable()
    .describe('The state that was changed; of many messages, how many had which status. Null if there was none.'),
  after: z.record(z.string(), z.unknown()),
});
export type OperatorAction = z.infer<typeof operatorAction>;
export const operatorActionsPage = pageSchema(operatorAction);

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

export const readiness = z
  .object({
    status,
    resources: z.record(z.string(), resourceState),
    consumers: z.record(z.string(), consumerState),
    loops: z.array(loopState).default([]).describe('Only those that are degraded.'), // a response of 0.2.0 has none
  })
  .meta({ id: 'Readiness' });
export type Readiness = z.infer<typeof readiness>;
