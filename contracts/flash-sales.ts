// POST /flash-sales, GET /flash-sales, GET /flash-sales/:id, POST /flash-sales/:id/purchases,
// GET /flash-sales/:id/purchases/:ticketId
import { z } from 'zod';
import { currency } from './money.ts';
import { pageQuery, pageSchema } from './pages.ts';
import { count, instant, moment, text, userId, uuid } from './text.ts';

/** In units; each ticket takes one. */
export const MAX_STOCK = 1_000_000_000;
/** In queued tickets. */
export const MAX_QUEUE_CAP = 1_000_000;
export const MAX_DRAIN_PER_SECOND = 10_000;
/** A day. */
export const MAX_HOLD_SECONDS = 86_400;

/** A time within the range of every PostgreSQL timestamp. */
const saleTime = moment
  .refine((at) => /^2[01]\d\d/.test(at), 'must be in the years 2000 to 2199, in UTC')
  .describe('A time with its zone, in the years 2000 to 2199.');

export const createFlashSaleRequest = z
  .strictObject({
    sku: text(1, 64),
    name: text(1, 200),
    unitPrice: z.int().min(0).max(1_000_000_000),
    currency,
    stock: z.int().min(1).max(MAX_STOCK),
    queueCap: z.int().min(1).max(MAX_QUEUE_CAP),
    drainPerSecond: z.int().min(1).max(MAX_DRAIN_PER_SECOND),
    opensAt: saleTime.optional().describe('Unset: the sale opens at once.'),
    closesAt: saleTime.nullish().describe('Unset, or null as in a sale: the sale stays open until it is sold out.'),
    holdSeconds: z
      .int()
      .min(0)
      .max(MAX_HOLD_SECONDS)
      .default(0)
      .describe('How long a unit is held until its order is paid; 0: the order needs no payment.'),
  })
  .refine(({ opensAt, closesAt }) => !opensAt || !closesAt || opensAt < closesAt, {
    path: ['closesAt'],
    message: 'must be after opensAt',
  })
  .describe('closesAt must be after opensAt.');
export type CreateFlashSaleRequest = z.infer<typeof createFlashSaleRequest>;

export const purchaseRequest = z.strictObject({ userId });

const flashSaleStatus = z.enum(['scheduled', 'open', 'sold-out', 'closed']);
export type FlashSaleStatus = z.infer<typeof flashSaleStatus>;

export const flashSale = z
  .object({
    id: uuid,
    sku: z.string(),
    name: z.string(),
    unitPrice: count,
    currency,
    queueCap: count,
    drainPerSecond: count,
    opensAt: instant,
    closesAt: instant.nullable(),
    holdSeconds: count,
    status: flashSaleStatus,
    stock: z
      .object({ initial: count, remaining: z.int(), held: z.int(), sold: z.int() })
      .describe(
        'initial = remaining + held + sold. `held` units belong to tickets that are queued or whose order is not confirmed yet.',
      ),
    queue: z.object({ length: z.int(), cap: count }).describe('`length` counts the queued tickets.'),
    counts: z
      .object({
        admitted: count,
        ordered: count,
        released: count.describe('Tickets whose unit was returned to the stock: released or failed.'),
        rejected: z
          .object({ queueFull: count, soldOut: count, notOpen: count })
          .describe('Counted best-effort: a crash loses the rejections of the last moments.'),
      })
      .describe('admitted = held + ordered + released.'),
  })
  .meta({ id: 'FlashSale' });
export type FlashSale = z.infer<typeof flashSale>;
export const flashSalesPage = pageSchema(flashSale);
export const flashSalesQuery = pageQuery.extend({ status: flashSaleStatus.optional() });

export const rejections = ['not-open', 'sold-out', 'queue-full'] as const;
export type Rejection = (typeof rejections)[number];

/** The response to an admitted buyer (202), and to a buyer who already holds a live ticket (200). */
export const purchase = z
  .object({
    ticketId: uuid,
    position: count.describe('One more than the number of queued tickets ahead; 0 once the ticket has left the queue.'),
    statusUrl: z.string(),
  })
  .meta({ id: 'Purchase' });
export type Purchase = z.infer<typeof purchase>;

export const ticketStatus = z.enum(['queued', 'accepted', 'awaiting-payment', 'ordered', 'released', 'failed']);
export type TicketStatus = z.infer<typeof ticketStatus>;

export const ticket = z.object({
  status: ticketStatus,
  position: z.int().min(1).optional().describe('Only while the ticket is queued.'),
  orderId: uuid.optional(),
});
export type Ticket = z.infer<typeof ticket>;
