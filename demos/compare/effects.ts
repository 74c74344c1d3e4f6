// What is stored for a shop's orders, read over HTTP after the measurement: every way of handling them must end with the
// same, each order completed, with its points, its coupon and its notification, once each.
import { groupBy } from '../../infra/runtime/group-by.ts';
import { HttpClient } from '../shared/http.ts';
import type { Shop } from './measure.ts';
import { readList } from './pages.ts';

export interface Effects {
  readonly orders: number;
  readonly completed: number;
  readonly points: number;
  readonly coupons: number;
  readonly notifications: number;
  /** What became of an order, apart from ids and times; more than one where two orders ended differently. */
  readonly outcomes: readonly string[];
}

export async function readEffects({ url, userId }: Shop, signal: AbortSignal): Promise<Effects> {
  const http = new HttpClient(url);
  try {
    const orders = await readList(http, 'orders', userId, signal);
    const points = await readList(http, 'points', userId, signal);
    const coupons = await readList(http, 'coupons', userId, signal);
    const notifications = await readList(http, 'notifications', userId, signal);
    const effects = groupBy([...points, ...coupons, ...notifications], ({ orderId }) => orderId);
    const outcomes = orders.map(({ id, status }) =>
      JSON.stringify([status, ...(effects.get(id) ?? []).map(({ orderId, ...effect }) => effect)]),
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

/** Why the ways did not end with the same for their `total` orders each; empty where they did. */
export function differences(all: readonly Effects[], total: number): string[] {
  const counts = (effects: Effects) => [
    effects.orders,
    effects.completed,
    effects.points,
    effects.coupons,
    effects.notifications,
  ];
  const outcomes = new Set(all.flatMap((effects) => effects.outcomes));
  return [
    ...(all.every((effects) => counts(effects).every((count) => count === total))
      ? []
      : [`not every way stored ${total} orders with one effect of each kind: ${JSON.stringify(all.map(counts))}`]),
    ...(outcomes.size === 1 ? [] : [`orders ended differently: ${[...outcomes].join(' | ')}`]),
  ];
}
