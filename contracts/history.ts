// GET /orders/:id/history: what happened to an order across the services, in the order of time; and the part of one
// service, from which it is made (GET /audit/:service/history/:orderId). It is read from what the services store anyway
// and from one row for each failed attempt, so what was deleted meanwhile is missing, and the response says so.
import { z } from 'zod';
import { MAX_IDS } from './facts.ts';
import { count, uuid } from './text.ts';

/** The newest items of a history; older ones are left out, and `truncated` is true. */
export const MAX_HISTORY_ITEMS = 1_000;

/** The kinds of items. A later version may add one, so that clients show an unknown kind as it is. */
const historyKinds = {
  accepted: 'the order was accepted, over HTTP or for a ticket',
  written: 'the service wrote an event, in the transaction that caused it',
  published:
    'the broker has the event; not stored, so `at` is when the first service received it, or when it was written if none has',
  waiting: 'the event waits in the outbox; `attempt`: how often the broker rejected it, `detail`: its error',
  received: 'the service received an event',
  handled: 'the service has handled an event, in attempt `attempt`; `durationMs`: since it was received',
  retried: 'attempt `attempt` failed because of `detail`, and another one follows; `durationMs`: of the attempt',
  dead: 'the last attempt failed: the message waits for an operator',
  discarded: 'an operator discarded the dead message because of `detail`',
  resent: 'the event was published again because replies were missing; `attempt`: how often, `at`: the last time',
  step: "the order's record of a step's result",
  payment: 'an attempt to pay: approved, declined, rejected, or in progress',
  refund: 'a refund was requested; `attempt`: calls to the provider',
  notification: 'a notification was stored for the user',
  admitted: 'a flash sale admitted the buyer: the ticket is queued',
  ticket: 'the outcome of the ticket',
} as const;
export type HistoryKind = keyof typeof historyKinds;

/**
 * By the clock of the service's database, with six decimals, although the embedded database has only milliseconds.
 */
const at = z.iso.datetime();

const historyItem = z.object({
  at,
  /** Not an enum, so that a later version may add a service. */
  service: z.string(),
  kind: z
    .string()
    .regex(/^[a-z-]+$/)
    .describe(
      Object.entries(historyKinds)
        .map(([kind, meaning]) => `${kind}: ${meaning}`)
        .join('. '),
    ),
  eventId: uuid.optional(),
  type: z.string().optional().describe('Of the event.'),
  attempt: count.optional(),
  durationMs: count.optional(),
  detail: z.string().optional(),
});
export type HistoryItem = z.infer<typeof historyItem>;

const items = z.array(historyItem).max(MAX_HISTORY_ITEMS);

export const orderHistory = z
  .object({
    orderId: uuid,
    ticketId: uuid.optional().describe('Of an order of a flash sale.'),
    /** In the order of time. */
    items,
    truncated: z.boolean().describe('Whether there are older items than these.'),
    missing: z
      .array(z.object({ service: historyItem.shape.service, reason: z.string() }))
      .describe(
        'The services whose part is missing, and why: they did not respond in time, or run nowhere that is known.',
      ),
    pruned: z
      .array(z.object({ service: historyItem.shape.service, before: at }))
      .describe('The services that were sent an event before this time, and may have deleted what became of it.'),
  })
  .meta({ id: 'OrderHistory' });
export type OrderHistory = z.infer<typeof orderHistory>;

export const historyPart = z
  .object({
    items,
    truncated: z.boolean(),
    /** Messages that are done, and failed attempts, are deleted if they are older. */
    keptSince: at,
  })
  .meta({ id: 'HistoryPart' });
export type HistoryPart = z.infer<typeof historyPart>;

/** `eventIds`: of events that the service may have received, separated by commas. */
export const historyPartQuery = z.strictObject({
  ticketId: uuid.optional(),
  eventIds: z
    .string()
    .transform((list) => list.split(','))
    .pipe(z.array(uuid).max(MAX_IDS))
    .optional(),
});
