// POST /orders, GET /orders/:id, GET /orders?userId=, POST /orders/:id/cancel, POST /orders/:id/pay
import { z } from 'zod';
import { currency } from './money.ts';
import { pageSchema } from './pages.ts';
import { instant, text, userId, uuid } from './text.ts';

const MAX_TOTAL = Number.MAX_SAFE_INTEGER;

/** One item of an order. */
export const orderItem = z.object({
  sku: text(1, 64),
  name: text(0, 200).optional(),
  quantity: z.int().min(1).max(1_000_000),
  unitPrice: z.int().min(0).max(1_000_000_000),
});
export type OrderItem = z.infer<typeof orderItem>;

/** In minor units. Exact up to MAX_TOTAL; placeOrderRequest rejects larger totals, which can reach 2e18. */
export const totalOf = (items: readonly Pick<OrderItem, 'quantity' | 'unitPrice'>[]) =>
  items.reduce((sum, { quantity, unitPrice }) => sum + quantity * unitPrice, 0);

export const placeOrderRequest = z.strictObject({
  userId,
  currency,
  items: z
    .array(orderItem.strict())
    .min(1)
    .max(2_000)
    .refine((items) => totalOf(items) <= MAX_TOTAL, `the total must be at most ${MAX_TOTAL}`)
    .describe('The sum of quantity × unitPrice must be at most 2^53 − 1.'),
});
export type PlaceOrderRequest = z.infer<typeof placeOrderRequest>;

export const cancelRequest = z.strictObject({ reason: text(0, 200).optional() });

/** `returnTo`: the ticket whose page gets the outcome, for the form of that page. */
export const payRequest = z.strictObject({
  returnTo: z
    .string()
    .regex(/^\/flash-sales\/[0-9a-f-]{36}\/purchases\/[0-9a-f-]{36}$/, 'must be the path of a ticket')
    .optional(),
});

/** What became of a payment, as `?payment=` of the page that a form returns to. */
export const paymentOutcome = z.enum(['paid', 'declined', 'rejected', 'in-progress', 'not-payable']);
export type PaymentOutcome = z.infer<typeof paymentOutcome>;

export const stepNames = ['points', 'coupon', 'notification'] as const;
export type StepName = (typeof stepNames)[number];

export const stepStatus = z.enum(['pending', 'failed', 'done', 'skipped', 'reverted']);

const step = z.object({
  status: stepStatus,
  at: instant.optional().describe('When the step reached this status, by the clock of the service’s database.'),
  detail: z.string().optional(),
});
export type Step = z.infer<typeof step>;

export const order = z
  .object({
    id: uuid,
    userId,
    status: z
      .enum(['awaiting-payment', 'placed', 'completed', 'cancelled'])
      .describe('A `placed` order is confirmed; it is `completed` once every step is done or skipped.'),
    currency,
    total: z.int().min(0),
    items: z.array(orderItem),
    createdAt: instant,
    expiresAt: instant
      .optional()
      .describe('Only while the order awaits payment: when it is cancelled if it has not been paid.'),
    payment: z
      .literal('in-progress')
      .optional()
      .describe(
        'Only while the order awaits payment: the payment provider has been asked and has not given an outcome.',
      ),
    cancelReason: z
      .string()
      .optional()
      .describe('Only of a cancelled order: the reason given by the client, or `not paid in time`.'),
    steps: z.object({ points: step, coupon: step, notification: step } satisfies Record<StepName, z.ZodType>),
  })
  .meta({ id: 'Order' });
export type Order = z.infer<typeof order>;
export const ordersPage = pageSchema(order);
