// GET /users/:userId/points, /coupons, /notifications
import { z } from 'zod';
import { currency } from './money.ts';
import { pageSchema, WITH_NEXT } from './pages.ts';
import { instant, uuid } from './text.ts';

const pointsEntry = z.object({
  id: uuid,
  orderId: uuid,
  points: z.int().describe('Negative for a revocation.'),
  kind: z.enum(['award', 'revoke']),
  at: instant,
});
export type PointsEntry = z.infer<typeof pointsEntry>;

export const pointsPage = pageSchema(pointsEntry)
  .safeExtend({ balance: z.int().describe('The sum of all entries, not only of those on this page.') })
  .describe(WITH_NEXT);

const coupon = z.object({
  id: uuid,
  orderId: uuid,
  amount: z.int().min(0),
  currency,
  status: z.enum(['active', 'revoked', 'expired']),
  expiresAt: instant,
});
export type Coupon = z.infer<typeof coupon>;
export const couponsPage = pageSchema(coupon);

export const notificationKinds = ['order.placed', 'order.cancelled'] as const;

/** Also published to the user's MQTT topic. `id` identifies a message that arrives twice. */
export const notification = z.object({
  id: uuid,
  orderId: uuid,
  kind: z.enum(notificationKinds),
  text: z.string(),
  at: instant,
});
export type Notification = z.infer<typeof notification>;
export const notificationsPage = pageSchema(notification);
