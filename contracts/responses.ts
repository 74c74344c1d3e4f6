// The schema of every JSON response, by route and status. A new route is added here, and from then on the tests parse
// each of its responses (test/setup/api.ts). Errors, which are problem details on every route, are not listed.
import { z } from 'zod';
import { type FactList, factLists, factsPage, messagesAbout, messagesSummary, resent } from './facts.ts';
import { flashSale, flashSalesPage, purchase, ticket } from './flash-sales.ts';
import {
  failedMessage,
  failedMessagesPage,
  health,
  readiness,
  retriedOne,
  retryPreview,
  retryResult,
} from './operations.ts';
import { order, ordersPage } from './orders.ts';
import { cancelResponse, chargeResponse, ledgerEntry, ledgerPage, providerHealth } from './payments.ts';
import { problem } from './problems.ts';
import { couponsPage, notificationsPage, pointsPage } from './users.ts';

/** A `:name` in a path stands for one segment. The first route that matches applies. */
export const routes: readonly (readonly [method: string, path: string, byStatus: Record<number, z.ZodType>])[] = [
  ['POST', '/orders', { 200: order, 201: order }],
  ['GET', '/orders', { 200: ordersPage }],
  ['GET', '/orders/:id', { 200: order }],
  ['POST', '/orders/:id/cancel', { 200: order }],
  ['POST', '/orders/:id/pay', { 200: order }],

  ['GET', '/users/:userId/points', { 200: pointsPage }],
  ['GET', '/users/:userId/coupons', { 200: couponsPage }],
  ['GET', '/users/:userId/notifications', { 200: notificationsPage }],

  ['POST', '/flash-sales', { 200: flashSale, 201: flashSale }],
  ['GET', '/flash-sales', { 200: flashSalesPage }],
  ['GET', '/flash-sales/:id', { 200: flashSale }],
  ['POST', '/flash-sales/:id/purchases', { 200: purchase, 202: purchase }],
  ['GET', '/flash-sales/:id/purchases/:ticketId', { 200: ticket }],

  ['GET', '/failed-messages/:service', { 200: failedMessagesPage }],
  ['POST', '/failed-messages/:service/retry', { 200: retryPreview, 202: retryResult }],
  ['GET', '/failed-messages/:service/:id', { 200: failedMessage }],
  ['POST', '/failed-messages/:service/:id/retry', { 202: retriedOne }],

  ['GET', '/audit/:service/messages', { 200: z.union([messagesSummary, messagesAbout]) }],
  ['POST', '/audit/:service/resend', { 202: resent }],
  ...(Object.keys(factLists) as FactList[]).map(
    (list) => ['GET', `/audit/${list}`, { 200: factsPage(factLists[list] as z.ZodType) }] as const,
  ),

  // The simulated payment provider.
  ['PUT', '/charges/:orderId', { 200: chargeResponse }],
  ['DELETE', '/charges/:orderId', { 200: cancelResponse }],
  ['GET', '/charges/:orderId', { 200: ledgerEntry }],
  ['GET', '/charges', { 200: ledgerPage }],

  ['GET', '/healthz', { 200: z.union([health, providerHealth]), 503: health }],
  ['GET', '/readyz', { 200: readiness, 503: readiness }],
];

const matches = (route: string, path: string): boolean =>
  new RegExp(`^${route.replaceAll(/:\w+/g, '[^/]+')}$`).test(path);

/** `path` may have a query. Undefined: the route has no JSON response with this status. */
export function responseSchema(method: string, path: string, status: number): z.ZodType | undefined {
  const [pathname = ''] = path.split('?');
  const route = routes.find(([routeMethod, routePath]) => routeMethod === method && matches(routePath, pathname));
  return route?.[2][status] ?? (status >= 400 ? problem : undefined);
}
