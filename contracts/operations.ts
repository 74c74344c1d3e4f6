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
  /** A substring of the error, without wildcards. */
  error: text(1, 1_000).optional(),
  /** The id of a group of errors. */
  group: uuid.optional(),
  /** The age since the message was received, by the database's clock. */
  olderThanSeconds: integerText(0, MAX_AGE_SECONDS).optional(),
  newerThanSeconds: integerText(0, MAX_AGE_SECONDS).optional(),
};
/** Without a status, the list has retrying and dead messages. */
export const failedMessagesQuery = pageQuery.extend({
  status: z.enum(['retrying', 'dead', 'discarded']).optional(),
  ...filter,
});

const notBefore1970 = (time: typeof moment) =>
  time.refine((value) => value >= '1970', 'must not be before 1970').optional();
/** A UUID that the client chooses. Each run retries a message at most once, in however many calls. */
const run = uuid.optional();

/** Strict, because a misspelt filter would retry everything. A discarded message is only retried by its id. */
export const retryQuery = z.strictObject({
  status: z.enum(['retrying', 'dead']).optional(),
  ...filter,
  /** Counts the messages that match and changes nothing. */
  dryRun: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .default(false),
  /** Retries the oldest first. Without a limit, the call retries all and waits for busy messages: see `left`. */
  limit: integerText(1, MAX_RETRY_LIMIT).optional(),
  run,
  /** Only messages that were received before this time, from which ages count, too: the `asOf` of a dry run. */
  asOf: notBefore1970(moment),
  /** Only messages that last failed, or were last retried, before this time. */
  failedBefore: notBefore1970(moment),
});

/** The response to a dry run. */
export const retryPreview = z.object({
  /** Messages that match and can be retried. */
  matching: count,
  /** Messages that match and cannot be retried: see failedMessage. */
  truncated: count,
  /** The database's time of this count, to the microsecond. */
  asOf: z.string(),
});
export type RetryPreview = z.infer<typeof retryPreview>;

export const retryResult = z.object({
  /** Messages that were given fresh attempts. */
  retried: count,
  /**
   * Messages that match and that this call (or this run of calls) has not retried: they exceed the `limit`, or they are
   * locked or being attempted. A call without a limit waits for the latter until none was free for 2 s.
   */
  left: count,
  /** Messages that match and cannot be retried: see failedMessage. */
  truncated: count,
});
export type RetryResult = z.infer<typeof retryResult>;

/** The messages of a run, without those that another run has retried since. */
export const retryProgress = z.object({
  /** They have attempts left. */
  waiting: count,
  succeeded: count,
  /** They are dead again. */
  failed: count,
});
export type RetryProgress = z.infer<typeof retryProgress>;

/** Of a retry of one message. */
export const retryOneQuery = z.strictObject({ run });
/** `data`: a corrected copy of the event's data, which is handled in place of the original. */
export const retryOneRequest = z.strictObject({ data: z.record(z.string(), z.unknown()).optional() });

/** The response to a retry of one message. */
export const retriedOne = z.object({ retried: z.literal(1) });

export const discardRequest = z.strictObject({ reason: text(1, 200) });

const failedMessage = z.object({
  /** The event's id. */
  id: uuid,
  type: z.string().nullable(),
  subject: z.string().nullable(),
  status: z.enum(['retrying', 'dead', 'discarded']),
  attempts: count,
  error: z.string().nullable(),
  /** The group of its error; a response of 0.2.0 has none. */
  group: uuid.nullable().default(null),
  nextAttemptAt: instant.nullable(),
  receivedAt: instant,
  /** Both are null unless it is discarded. */
  discardedAt: instant.nullable().default(null),
  discardReason: z.string().nullable().default(null),
  /** As it arrived, its first 64 KiB; bytes that are not UTF-8 are shown as U+FFFD. */
  payload: z.string(),
  /** The size of the message as it arrived. */
  payloadBytes: count,
  /** The message exceeded 64 KiB. The rest is not stored, so it cannot be retried. */
  truncated: z.boolean(),
  /** Whether an operator has corrected its data. */
  corrected: z.boolean().default(false),
});
export type FailedMessage = z.infer<typeof failedMessage>;
export const failedMessagesPage = pageSchema(failedMessage);

/** One message. A corrected one is shown until its retention ends, also when it is `done`. */
export const failedMessageDetails = failedMessage.extend({
  status: z.enum([...failedMessage.shape.status.options, 'done']),
  /** The event with the corrected data, which is handled in place of `payload`. */
  correctedPayload: z.string().nullable().default(null),
});
export type FailedMessageDetails = z.infer<typeof failedMessageDetails>;

/** Retrying and dead messages of one type whose errors differ only in ids and numbers. */
const errorGroup = z.object({
  id: uuid,
  type: z.string().nullable(),
  /** With `<id>` and `<n>` for ids and numbers. */
  error: z.string().nullable(),
  dead: count,
  retrying: count,
  /** When the first and the last of them were received. */
  oldestAt: instant,
  newestAt: instant,
  /** The newest message. */
  example: z.object({ id: uuid, error: z.string().nullable() }),
});
export type ErrorGroup = z.infer<typeof errorGroup>;
/** The groups with the newest messages first. */
export const errorGroupsPage = pageSchema(errorGroup);

export const operatorActionsQuery = pageQuery.extend({ service: z.enum(serviceNames).optional() });

/** A change that an operator has made. */
const operatorAction = z.object({
  id: uuid,
  at: instant,
  /** Of an action in several calls, such as a long run of retries: when the latest of them was. */
  updatedAt: instant.nullable(),
  /** The operator: `local` without access control. */
  who: z.string(),
  /** The client's address. */
  from: z.string(),
  action: z.enum([
    'failed-message.retry',
    'failed-message.correct',
    'failed-message.discard',
    'failed-messages.retry',
    'audit.resend',
    'flash-sale.create',
  ]),
  service: z.string(),
  /** The id of what was changed; null for several. */
  target: z.string().nullable(),
  /** The request: a reason, a filter, the ids. */
  details: z.record(z.string(), z.unknown()),
  /** The state that was changed; of many messages, how many had which status. Null if there was none. */
  before: z.record(z.string(), z.unknown()).nullable(),
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

const resourceState = z.object({ status, detail: z.string().optional() });
export type ResourceState = z.infer<typeof resourceState>;

const consumerState = resourceState.extend({
  /** Messages that wait or are under way; null if the database or the broker does not report it. */
  backlog: count.nullable(),
  /** When a message's outcome was last recorded; null before the first one since the process started. */
  lastProgressAt: instant.nullable(),
});
export type ConsumerState = z.infer<typeof consumerState>;

/** Work in the background that has failed at least five times in a row. */
const loopState = z.object({
  /** Null if the work belongs to no service. */
  service: z.string().nullable(),
  loop: z.string(),
  status: z.literal('degraded'),
  /** In a row. */
  failures: count,
  /** When the first of them happened. */
  failingSince: instant,
  /** The last error, without addresses. */
  error: z.string(),
});
export type LoopState = z.infer<typeof loopState>;

export const readiness = z.object({
  status,
  resources: z.record(z.string(), resourceState),
  consumers: z.record(z.string(), consumerState),
  /** Only those that are degraded. */
  loops: z.array(loopState).default([]), // a response of 0.2.0 has none
});
export type Readiness = z.infer<typeof readiness>;
