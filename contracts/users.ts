// GET /users/:id/points, /coupons, /notifications
import type { Page } from './pages.ts';

export interface PointsEntry {
  readonly id: string;
  readonly orderId: string;
  readonly points: number;
  readonly kind: 'award' | 'revoke';
  readonly at: string;
}
export type PointsPage = Page<PointsEntry> & { readonly balance: number };

export interface Coupon {
  readonly id: string;
  readonly orderId: string;
  readonly amount: number;
  readonly currency: string;
  readonly status: 'active' | 'revoked' | 'expired';
  readonly expiresAt: string;
}

export const notificationKinds = ['order.placed', 'order.cancelled'] as const;

/** Also what is published to the user's MQTT topic; `id` tells repeats apart. */
export interface Notification {
  readonly id: string;
  readonly orderId: string;
  readonly kind: (typeof notificationKinds)[number];
  readonly text: string;
  readonly at: string;
}
