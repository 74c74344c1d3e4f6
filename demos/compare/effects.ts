// The stored effects of a shop's orders, read over HTTP after the measurement. With every strategy each order must be
// completed, with its points, its coupon and its notification, once each.
import { ordersPage } from '../../contracts/orders.ts';
import { couponsPage, notificationsPage, pointsPage } from '../../contracts/users.ts';
import { groupBy } from '../../infra/runtime/group-by.ts';
import { HttpClient } from '../shared/http.ts';
import { readList } from './lists.ts';
import type { Shop } from './measure.ts';

export interface Effects {
  readonly orders: number;
  readonly completed: number;
  readonly points: number;
  readonly coupons: number;
  readonly notifications: number;
  /** The distinct outcomes of the orders, without ids and times: a single one if all orders ended alike. */
  readonly outcomes: readonly string[];
}

export async function readEffects({ url, userId }: Shop, signal: AbortSignal): Promise<Effects> {
  const http = new HttpClient(url);
  const user = `/users/${userId}`;
  try {
    const orders = await readList(http, { path: `/orders?userId=${userId}`, schema: ordersPage }, signal);
    const points = await readList(http, { path: `${user}/points`, schema: pointsPage }, signal);
    const coupons = await readList(http, { path: `${user}/coupons`, schema: couponsPage }, signal);
    const notifications = await readList(http, { path: `${user}/notifications`, schema: notificationsPage }, signal);
    const effects = groupBy(
      [
        ...points.map(({ orderId, kind, points }) => ({ orderId, effect: { kind, points } })),
        ...coupons.map(({ orderId, status, amount, currency }) => ({ orderId, effect: { status, amount, currency } })),
        ...notifications.map(({ orderId, kind, text }) => ({ orderId, effect: { kind, text } })),
      ],
      ({ orderId }) => orderId,
    );
    const outcomes = orders.map(({ id, status }) =>
      JSON.stringify([status, ...(effects.get(id) ?? []).map(({ effect }) => effect)]),
    );
    return {
      orders: orders.length,
      completed: orders.filter(({ status }) => status === 'completed').length,
      points: points.length,
      coupons: coupons.length,
      notifications: notifications.length,
      outcomes: [...new Set(outcomes)],
    };
  } finally {
    await http.close();
  }
}

/** How the strategies' effects differ from each other or from `total` orders each; empty if they do not. */
export function differences(all: readonly Effects[], total: number): string[] {
  const counts = ({ orders, completed, points, coupons, notifications }: Effects) => [
    orders,
    completed,
    points,
    coupons,
    notifications,
  ];
  const outcomes = new Set(all.flatMap((effects) => effects.outcomes));
  return [
    ...(all.every((effects) => counts(effects).every((count) => count === total))
      ? []
      : [`not every strategy stored ${total} orders with one effect of each kind: ${JSON.stringify(all.map(counts))}`]),
    ...(outcomes.size === 1 ? [] : [`orders ended differently: ${[...outcomes].join(' | ')}`]),
  ];
}
