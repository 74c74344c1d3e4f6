// POST /orders, GET /orders/:id, GET /orders?userId=, POST /orders/:id/cancel, POST /orders/:id/pay
import { z } from 'zod';
import { currency } from './money.ts';
import { text, userId } from './text.ts';

const MAX_TOTAL = Number.MAX_SAFE_INTEGER;

const item = z.object({
  sku: text(1, 64),
  name: text(0, 200).optional(),
  quantity: z.int().min(1).max(1_000_000),
  unitPrice: z.int().min(0).max(1_000_000_000),
});
export type OrderItem = z.infer<typeof item>;

/** In minor units. Exact as long as it is at most MAX_TOTAL; the largest possible sum is 2e18, so it is checked. */
export const totalOf = (items: readonly Pick<OrderItem, 'quantity' | 'unitPrice'>[]) =>
  items.reduce((sum, { quantity, unitPrice }) => sum + quantity * unitPrice, 0);

export const placeOrderRequest = z.object({
  userId,
  currency,
  items: z
    .array(item)
    .min(1)
    .max(2_000)
    .refine((items) => totalOf(items) <= MAX_TOTAL, `the total must be at most ${MAX_TOTAL}`),
});
export type PlaceOrderRequest = z.infer<typeof placeOrderRequest>;

export const idempotencyKey = z
  .string()
  .regex(/^[\x20-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters')
  .optional();

export const cancelRequest = z.object({ reason: text(0, 200).optional() });

export const stepNames = ['points', 'coupon', 'notification'] as const;
export type StepName = (typeof stepNames)[number];
type StepStatus = 'pending' | 'failed' | 'done' | 'skipped' | 'reverted';

export interface Step {
  readonly status: StepStatus;
  /** When it came to this, by the clock of the service's database. */
  readonly at?: string;
  readonly detail?: string;
}

export interface Order {
  readonly id: string;
  readonly userId: string;
  /** `placed` is confirmed, and `completed` once every step is done or skipped. */
  readonly status: 'awaiting-payment' | 'placed' | 'completed' | 'cancelled';
  readonly currency: string;
  readonly total: number;
  readonly items: readonly OrderItem[];
  readonly createdAt: string;
  /** While it awaits payment: when it is cancelled otherwise. */
  readonly expiresAt?: string;
  /** While it awaits payment: the provider has been asked for it, and the outcome is not known yet. */
  readonly payment?: 'in-progress';
  /** Of a cancelled order: the reason that was given, or that it was not paid in time. */
  readonly cancelReason?: string;
  readonly steps: Readonly<Record<StepName, Step>>;
}
