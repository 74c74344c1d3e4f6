import { pageQuery } from '../pages.ts';
import { userId } from '../text.ts';
import { couponsPage, notificationsPage, pointsPage } from '../users.ts';
import type { Route } from './route.ts';

const list = {
  method: 'get',
  access: 'buyer',
  userIn: 'params',
  params: { userId: { schema: userId, what: 'user' } },
  query: pageQuery,
} as const;

/** The routes of the services points, coupon and notify. */
export const pointsRoutes = {
  listPoints: {
    ...list,
    path: '/users/:userId/points',
    summary: 'Read the points of a user',
    responses: { 200: { about: 'The balance, and the newest entries first.', json: pointsPage } },
  },
} as const satisfies Record<string, Route>;

export const couponRoutes = {
  listCoupons: {
    ...list,
    path: '/users/:userId/coupons',
    summary: 'List the coupons of a user',
    responses: { 200: { about: 'The newest coupons first.', json: couponsPage } },
  },
} as const satisfies Record<string, Route>;

export const notifyRoutes = {
  listNotifications: {
    ...list,
    path: '/users/:userId/notifications',
    summary: 'List the notifications of a user',
    responses: { 200: { about: 'The newest notifications first.', json: notificationsPage } },
  },
} as const satisfies Record<string, Route>;
