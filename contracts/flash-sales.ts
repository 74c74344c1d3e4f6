// POST /flash-sales, GET /flash-sales/:id, POST /flash-sales/:id/purchases, GET /flash-sales/:id/purchases/:ticketId
import { z } from 'zod';
import { currency } from './money.ts';
import { instant, text, userId } from './text.ts';

/** In whole units, one per ticket. */
export const MAX_STOCK = 1_000_000_000;
/** Waiting and running tickets together. */
export const MAX_QUEUE_CAP = 1_000_000;
export const MAX_DRAIN_PER_SECOND = 10_000;
/** A day. */
export const MAX_HOLD_SECONDS = 86_400;

/** A time that any PostgreSQL can keep. */
const moment = instant.refine((at) => /^2[01]\d\d/.test(at), 'must be in the years 2000 to 2199');

export const createFlashSaleRequest = z
  .object({
    sku: text(1, 64),
    name: text(1, 200),
    unitPrice: z.int().min(0).max(1_000_000_000),
    currency,
    stock: z.int().min(1).max(MAX_STOCK),
    queueCap: z.int().min(1).max(MAX_QUEUE_CAP),
    drainPerSecond: z.int().min(1).max(MAX_DRAIN_PER_SECOND),
    /** Unset: at once. */
    opensAt: moment.optional(),
    /** Unset: it stays open until it is sold out. */
    closesAt: moment.optional(),
    /** How long a unit is held for its order to be paid; 0: no payment is asked for. */
    holdSeconds: z.int().min(0).max(MAX_HOLD_SECONDS).default(0),
  })
  .refine(({ opensAt, closesAt }) => !opensAt || !closesAt || Date.parse(opensAt) < Date.parse(closesAt), {
    path: ['closesAt'],
    message: 'must be after opensAt',
  });
export type CreateFlashSaleRequest = z.infer<typeof createFlashSaleRequest>;

export const purchaseRequest = z.object({ userId });

export type FlashSaleStatus = 'scheduled' | 'open' | 'sold-out' | 'closed';

export interface FlashSale {
  readonly id: string;
  readonly sku: string;
  readonly name: string;
  readonly unitPrice: number;
  readonly currency: string;
  readonly queueCap: number;
  readonly drainPerSecond: number;
  readonly opensAt: string;
  readonly closesAt: string | null;
  readonly holdSeconds: number;
  readonly status: FlashSaleStatus;
  /** initial = remaining + held + sold; `held` are the units of tickets that are queued or wait for their order. */
  readonly stock: {
    readonly initial: number;
    readonly remaining: number;
    readonly held: number;
    readonly sold: number;
  };
  /** Waiting and running tickets. */
  readonly queue: { readonly length: number; readonly cap: number };
  /** admitted = held + ordered + released. Rejections are counted best-effort: a crash loses those of the last moments. */
  readonly counts: {
    readonly admitted: number;
    readonly ordered: number;
    /** Tickets whose unit went back: released or failed. */
    readonly released: number;
    readonly rejected: { readonly queueFull: number; readonly soldOut: number; readonly notOpen: number };
  };
}

export const rejections = ['not-open', 'sold-out', 'queue-full'] as const;
export type Rejection = (typeof rejections)[number];

/** The answer to who is admitted (202), or has a live ticket already (200). */
export interface Purchase {
  readonly ticketId: string;
  /** Queued tickets before this one, plus one; 0 once it has left the queue. */
  readonly position: number;
  readonly statusUrl: string;
}

export type TicketStatus = 'queued' | 'accepted' | 'awaiting-payment' | 'ordered' | 'released' | 'failed';

export interface Ticket {
  readonly status: TicketStatus;
  /** Only while it is queued. */
  readonly position?: number;
  readonly orderId?: string;
}
