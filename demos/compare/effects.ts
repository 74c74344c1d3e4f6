// The stored effects of a shop's orders, read over HTTP after the measurement. With every strategy each order must be
// completed, with its points, its coupon and its notification, once each.
import type { z } from 'zod';
import { ordersPage } from '../../contracts/orders.ts';
import type { Page } from '../../contracts/pages.ts';
import { couponsPage, notificationsPage, pointsPage } from '../../contracts/users.ts';
import { groupBy } from '../../infra/runtime/collections.ts';
import { HttpClient } from '../shared/http.ts';
import { readPage, type Shop } from './measure.ts';

export type Effects = Awaited<ReturnType<typeof readEffects>>;

/** The fields that differ between any two orders. */
const IDS_AND_TIMES = new Set(['id', 'orderId', 'at', 'expiresAt']);

export async function readEffects({ url, userId }: Shop, signal: AbortSignal) {
  const http = new HttpClient(url);
  const read = async <Item>(path: string, schema: z.ZodType<Page<Item>>): Promise<Item[]> => {
    const all: Item[] = [];
    for (let after: string | null | undefined; after !== null; ) {
      const page: Page<Item> = await readPage(http, { path, schema, after }, signal);
      all.push(...page.items);
      after = page.next;
    }
    return all;
  };
  try {
    const orders = await read(`/orders?userId=${userId}`, ordersPage);
    const points = await read(`/users/${userId}/points`, pointsPage);
    const coupons = await read(`/users/${userId}/coupons`, couponsPage);
    const notifications = await read(`/users/${userId}/notifications`, notificationsPage);
    const effects = groupBy([...points, ...coupons, ...notifications], ({ orderId }) => orderId);
    const outcomes = orders.map(({ id, status }) =>
      JSON.stringify([status, ...(effects.get(id) ?? [])], (key, value) =>
        IDS_AND_TIMES.has(key) ? undefined : value,
      ),
    );
    return {
      orders: orders.length,
      completed: orders.filter(({ status }) => status === 'completed').length,
      points: points.length,
      coupons: coupons.length,
      notifications: notifications.length,
      /** The distinct outcomes of the orders, without ids and times: a single one if all orders ended alike. */
      outcomes: [...new Set(outcomes)],
    };
  } finally {
    await http.close();
  }
}

/** How the strategies' effects differ from each other or from `total` orders each; empty if they do not. */
export function differences(all: readonly Effects[], total: number): string[] {
  const counts = all.map(({ outcomes, ...stored }) => Object.values(stored));
  const outcomes = new Set(all.flatMap((effects) => effects.outcomes));
  return [
    ...(counts.flat().every((count) => count === total)
      ? []
      : [`not every strategy stored ${total} orders with one effect of each kind: ${JSON.stringify(counts)}`]),
    ...(outcomes.size === 1 ? [] : [`orders ended differently: ${[...outcomes].join(' | ')}`]),
  ];
}
