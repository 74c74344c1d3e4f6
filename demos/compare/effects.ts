// The stored effects of a shop's orders, read over HTTP after the measurement. With every strategy each order must be
// completed, with its points, its coupon and its notification, once each.
import type { Page } from '../../contracts/pages.ts';
import { groupBy } from '../../infra/runtime/collections.ts';
import { HttpClient } from '../shared/http.ts';
import { MAX_PAGE, type Shop } from './measure.ts';

interface Cursor {
  readonly limit: number;
  readonly after: string | undefined;
}

export type Effects = Awaited<ReturnType<typeof readEffects>>;

/** The fields that differ between any two orders. */
const IDS_AND_TIMES = new Set(['id', 'orderId', 'at', 'expiresAt']);

export async function readEffects({ url, userId }: Shop, signal: AbortSignal) {
  const http = new HttpClient(url);
  const params = { userId };
  const options = { about: `the effects of ${userId}`, signal };
  const all = async <Item>(read: (query: Cursor) => Promise<Page<Item>>): Promise<Item[]> => {
    const all: Item[] = [];
    for (let after: string | null | undefined; after !== null; ) {
      const page: Page<Item> = await read({ limit: MAX_PAGE, after });
      all.push(...page.items);
      after = page.next;
    }
    return all;
  };
  try {
    const orders = await all((page) => http.read('GET /orders', { query: { userId, ...page } }, options));
    const points = await all((query) => http.read('GET /users/:userId/points', { params, query }, options));
    const coupons = await all((query) => http.read('GET /users/:userId/coupons', { params, query }, options));
    const notifications = await all((query) =>
      http.read('GET /users/:userId/notifications', { params, query }, options),
    );
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
