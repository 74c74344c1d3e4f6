// GET /audit/:service and below: what each service has stored, as facts that whoever wants to can compare. One fact for
// each order or ticket, in the order of its id, so that the services' facts are joined by reading each once. Rows are
// counted, whatever unique keys promise. Times are milliseconds by the clock of the service's database.
import { z } from 'zod';
import { stepNames } from './orders.ts';
import { pageSchema } from './pages.ts';
import type { ServiceName } from './services.ts';
import { uuid } from './text.ts';

/** Facts in one answer, and ids in one question. */
const MAX_FACTS = 5_000;
export const MAX_IDS = 200;

const ids = z.array(uuid).min(1).max(MAX_IDS);

/** `ids`, separated by commas: only those. Otherwise the facts after the id `after`, in the order of the ids. */
export const factsQuery = z.strictObject({
  after: uuid.optional(),
  limit: z
    .string()
    .regex(/^\d{1,4}$/, `must be an integer from 1 to ${MAX_FACTS}`)
    .transform(Number)
    .pipe(z.int().min(1).max(MAX_FACTS))
    .default(1_000),
  ids: z
    .string()
    .transform((list) => list.split(','))
    .pipe(ids)
    .optional(),
});

/** POST /audit/order/resend, POST /audit/flash-sale/resend */
export const resendRequest = z.strictObject({ ids });
const count = z.int().min(0);
/** `asked`: of the ids, those whose question was sent. */
export const resent = z.object({ asked: count });
export type Resent = z.infer<typeof resent>;

const userId = z.string();
/** Until the service takes it up by itself, negative where that is overdue; null where it never will. */
const dueInMs = z.int().nullable();

/** GET /audit/order, by order. */
export const orderFact = z.object({
  id: uuid,
  userId,
  ticketId: uuid.nullable(),
  /** Null: the order has no row that says how far it is. */
  state: z.enum(['awaiting-payment', 'paying', 'firm', 'cancelled']).nullable(),
  /** Whether it is firm, or was when it was cancelled. */
  everFirm: z.boolean(),
  /** Whether it waits for something: for answers, to be paid or to expire, or for its payment to be given back. */
  open: z.boolean(),
  /** Cancelled, and the flash sale has not answered yet. */
  unitToReturn: z.boolean(),
  /** Cancelled, and the payment provider has not been told yet. */
  toGiveBack: z.boolean(),
  /**
   * How often the provider was asked again about the payment under way, and was told to give the payment back. 0.1.0 does
   * not say.
   */
  chargeRetries: count.default(0),
  refundAttempts: count.default(0),
  /** Whether the provider rejected that. It is tried again. */
  refundRejected: z.boolean().default(false),
  steps: z.record(z.enum(stepNames), z.enum(['pending', 'failed', 'done', 'skipped', 'reverted'])),
  /** Since it was placed, paid or cancelled, whichever was last. */
  sinceMs: z.int(),
  dueInMs,
});
export type OrderFact = z.infer<typeof orderFact>;

/** GET /audit/points, by order: its entries. */
const pointsFact = z.object({ id: uuid, userId, awards: count, revokes: count, points: z.int() });
export type PointsFact = z.infer<typeof pointsFact>;

/** GET /audit/coupon, by order: its decisions. An expired coupon is active here: nobody took it back. */
const couponFact = z.object({ id: uuid, userId, active: count, revoked: count, skipped: count });
export type CouponFact = z.infer<typeof couponFact>;

/** GET /audit/notify, by order: its stored notifications of each kind. */
const notifyFact = z.object({ id: uuid, userId, placed: count, cancelled: count });
export type NotifyFact = z.infer<typeof notifyFact>;

/** GET /audit/order/tickets, by ticket: the orders that were placed for it; the rest is said of the first. */
const ticketOrderFact = z.object({
  id: uuid,
  orders: count,
  orderId: uuid,
  userId,
  state: orderFact.shape.state,
  unitToReturn: orderFact.shape.unitToReturn,
});
export type TicketOrderFact = z.infer<typeof ticketOrderFact>;

/** GET /audit/flash-sale/tickets, by ticket. */
const ticketFact = z.object({
  id: uuid,
  userId,
  status: z.enum(['queued', 'accepted', 'awaiting-payment', 'ordered', 'released', 'failed']),
  orderId: uuid.nullable(),
  sinceMs: z.int(),
  dueInMs,
});
export type TicketFact = z.infer<typeof ticketFact>;

const totals = z.object({ queued: z.int(), held: z.int(), sold: z.int(), released: z.int(), admitted: z.int() });

/** GET /audit/flash-sale, by sale: the row, and the same as its tickets have it, both of one moment. */
const saleFact = z.object({
  id: uuid,
  stock: z.int(),
  remaining: z.int(),
  queueCap: z.int(),
  row: totals,
  tickets: totals.extend({
    /** The last ticket's number. */
    lastNumber: z.int(),
    /** Users with more than one live ticket: how many, and the first of them. */
    doubled: count,
    doubledUsers: z.array(userId),
  }),
});
export type SaleFact = z.infer<typeof saleFact>;

/** How much is waiting somewhere, and how long the oldest of it has been there. */
const waiting = z.object({ rows: count, oldestMs: z.int().nullable() });

/** GET /audit/:service/messages: what its outbox and inbox hold. */
export const messagesSummary = z.object({
  outbox: z.object({ bus: waiting, user: waiting }),
  inbox: z.object({ pending: waiting, retrying: waiting, dead: waiting }),
  /** Of the dead ones, the latest. */
  dead: z.array(z.object({ id: uuid, type: z.string().nullable(), subject: uuid.nullable(), error: z.string() })),
});
export type MessagesSummary = z.infer<typeof messagesSummary>;

/** GET /audit/:service/messages?ids=: where messages about these orders or tickets are. */
export const messagesAbout = z.object({
  items: z.array(
    z.object({
      subject: uuid,
      /** The event's id. */
      id: uuid,
      type: z.string().nullable(),
      place: z.enum(['outbox', 'pending', 'retrying', 'dead']),
    }),
  ),
});
export type MessageAbout = z.infer<typeof messagesAbout>['items'][number];
export const messagesQuery = z.strictObject({ ids: factsQuery.shape.ids });

/** A page of facts. The end is where `next` is null; a service may add rows after that. */
export const factsPage = <Fact extends z.ZodType>(fact: Fact) => pageSchema(fact, MAX_FACTS);

/** Each list of facts, by what follows /audit/. */
export const factLists = {
  order: orderFact,
  'order/tickets': ticketOrderFact,
  points: pointsFact,
  coupon: couponFact,
  notify: notifyFact,
  'flash-sale': saleFact,
  'flash-sale/tickets': ticketFact,
} as const;
export type FactList = keyof typeof factLists;
export type Fact<L extends FactList> = z.infer<(typeof factLists)[L]>;

/** Who answers for a list. */
export const serviceOfList = (list: FactList): ServiceName => list.split('/')[0] as ServiceName;
