// All routes, and those of a process.
import { type ServiceName, serviceNames } from '../services.ts';
import { auditRoutes } from './audit.ts';
import { flashSaleRoutes } from './flash-sales.ts';
import { failedMessagesRoutes, processRoutes } from './operations.ts';
import { orderRoutes } from './orders.ts';
import type { Route } from './route.ts';
import { couponRoutes, notifyRoutes, pointsRoutes } from './users.ts';

/** The routes with a name of their own; those of an audit are made for each service. */
export const routes = {
  ...orderRoutes,
  ...pointsRoutes,
  ...couponRoutes,
  ...notifyRoutes,
  ...flashSaleRoutes,
  ...failedMessagesRoutes,
  ...processRoutes,
} as const;

const ofService: Readonly<Record<ServiceName, Readonly<Record<string, Route>>>> = {
  order: orderRoutes,
  points: pointsRoutes,
  coupon: couponRoutes,
  notify: notifyRoutes,
  'flash-sale': flashSaleRoutes,
};

/** The routes that only a process with this service serves. */
export const routesOfService = (service: ServiceName): readonly Route[] => [
  ...Object.values(ofService[service]),
  ...auditRoutes(service),
];

/** The routes of a process that serves these services over HTTP; none: it has the role worker only. */
export const routesOf = (services: readonly ServiceName[] = serviceNames): readonly Route[] => [
  ...services.flatMap(routesOfService),
  ...(services.length > 0 ? Object.values(failedMessagesRoutes) : []),
  ...Object.values(processRoutes),
];
