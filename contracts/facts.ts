// GET /audit/:service and the routes below it: what each service has stored, as facts for an audit to compare. Each
// order, ticket or sale has one fact, sorted by its id, so that an audit joins the services' facts in one pass. Rows
// are counted even if a unique key allows only one. Times are milliseconds by the clock of the service's database.
import { z } from 'zod';
import { ticketStatus } from './flash-sales.ts';
import { stepNames, stepStatus } from './orders.ts';
import { pageSchema } from './pages.ts';
import type { ServiceName } from './services.ts';
import { count, integerText, uuid } from './text.ts';

/** Facts in one response, and ids in one request. */
const MAX_FACTS = 5_000;
export const MAX_IDS = 200;

const ids = z.array(uuid).min(1).max(MAX_IDS);

/** Either the facts of `ids`, separated by commas, or the facts after the id `after`, sorted by id. */
export const factsQuery = z.strictObject({
  after: uuid.optional(),
  limit: integerText(1, MAX_FACTS).default(1_000),
  ids: z
    .string()
    .transform((list) => list.split(','))
    .pipe(ids)
    .optional(),
});

export type FactsQuery = z.infer<typeof factsQuery>;

/** POST /audit/order/resend, POST /audit/flash-sale/resend */
export const resendRequest = z.strictObject({ ids });
/** For how many of the ids a request was resent. */
export const resent = z.object({ resent: count });

const userId = z.string();
/**
 * Until the service resends, expires, charges or refunds it by itself; negative if that is overdue, null if no such
 * time is set, as for a queued ticket.
 */
const dueInMs = z.int().nullable();

export const orderFact = z.object({
  id: uuid,
  userId,
  ticketId: uuid.nullable(),
  /** Null: the order has no row that says how far it is. */
  state: z.enum(['awaiting-payment', 'paying', 'confirmed', 'cancelled']).nullable(),
  /** Whether it is confirmed, or was when it was cancelled. */
  everConfirmed: z.boolean(),
  /** Whether it waits for something: for replies, to be paid or to expire, or for its refund. */
  open: z.boolean(),
  /** Cancelled, and the flash sale has not released the stock yet. */
  stockReleasePending: z.boolean(),
  /** Cancelled, and the payment provider has not confirmed the refund yet. */
  refundDue: z.boolean(),
  /** Retries of the charge in progress, and attempts at the refund. 0.1.0 does not send these. */
  chargeRetries: count.default(0),
  refundAttempts: count.default(0),
  /** Whether the provider rejected the refund. It is retried. */
  refundRejected: z.boolean().default(false),
  steps: z.record(z.enum(stepNames), stepStatus),
  /** Since it was placed, paid or cancelled, whichever came last. */
  sinceMs: z.int(),
  dueInMs,
});

/** How many rows are waiting, and the age of the oldest. */
const waiting = z.object({ rows: count, oldestMs: z.int().nullable() });

/** GET /audit/:service/messages: how many messages its outbox and inbox hold. */
export const messagesSummary = z.object({
  outbox: z.object({ bus: waiting, user: waiting }),
  inbox: z.object({ pending: waiting, retrying: waiting, dead: waiting }),
  /** The latest dead messages. */
  dead: z.array(z.object({ id: uuid, type: z.string().nullable(), subject: uuid.nullable(), error: z.string() })),
});
export type MessagesSummary = z.infer<typeof messagesSummary>;

/** GET /audit/:service/messages?ids=: the locations of messages about these orders or tickets. */
export const messagesAbout = z
  .object({
    items: z.array(
      z.object({
        subject: uuid,
        /** The event's id. */
        id: uuid,
        type: z.string().nullable(),
        place: z.enum(['outbox', 'pending', 'retrying', 'dead', 'discarded']),
      }),
    ),
  })
  .meta({ id: 'MessagesAbout' });
export type MessagesAbout = z.infer<typeof messagesAbout>;
export const messagesQuery = z.strictObject({ ids: factsQuery.shape.ids });

/** The service may add rows after the page whose `next` is null. */
export const factsPage = <Fact extends z.ZodType>(fact: Fact) => pageSchema(fact, MAX_FACTS);

const totals = z.object({ queued: z.int(), held: z.int(), sold: z.int(), released: z.int(), admitted: z.int() });

/** The lists of facts, by their path below /audit/. */
export const factLists = {
  /** By order. */
  order: orderFact,
  /** By ticket: how many orders were placed for it, and the facts of the first one. */
  'order/tickets': z.object({
    id: uuid,
    orders: count,
    orderId: uuid,
    userId,
    state: orderFact.shape.state,
    stockReleasePending: orderFact.shape.stockReleasePending,
  }),
  /** By order: its entries. */
  points: z.object({ id: uuid, userId, awards: count, revokes: count, points: z.int() }),
  /** By order: its decisions. An expired coupon counts as active, because it was not revoked. */
  coupon: z.object({ id: uuid, userId, active: count, revoked: count, skipped: count }),
  /** By order: its stored notifications of each kind. */
  notify: z.object({ id: uuid, userId, placed: count, cancelled: count }),
  /** By sale: the totals in its row and the totals of its tickets, in one snapshot. */
  'flash-sale': z.object({
    id: uuid,
    stock: z.int(),
    remaining: z.int(),
    queueCap: z.int(),
    row: totals,
    tickets: totals.extend({
      /** The last ticket's number. */
      lastNumber: z.int(),
      /** How many users hold more than one live ticket, and the first of these users. */
      doubled: count,
      doubledUsers: z.array(userId),
    }),
  }),
  /** By ticket. */
  'flash-sale/tickets': z.object({
    id: uuid,
    userId,
    status: ticketStatus,
    orderId: uuid.nullable(),
    sinceMs: z.int(),
    dueInMs,
  }),
} as const;
export type FactList = keyof typeof factLists;
export type Fact<L extends FactList> = z.infer<(typeof factLists)[L]>;
export type OrderFact = Fact<'order'>;
export type TicketOrderFact = Fact<'order/tickets'>;
export type SaleFact = Fact<'flash-sale'>;
export type TicketFact = Fact<'flash-sale/tickets'>;

/** The service that serves a list. */
export const serviceOfList = (list: FactList): ServiceName => list.split('/')[0] as ServiceName;
