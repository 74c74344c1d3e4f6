// All routes, and those of a process.
import { type ServiceName, serviceNames } from '../services.ts';
import { auditRoutes } from './audit.ts';
import { documentRoutes } from './documents.ts';
import { flashSaleRoutes } from './flash-sales.ts';
import { mqttAuthRoutes } from './mqtt-auth.ts';
import { operatorRoutes, processRoutes } from './operations.ts';
import { orderRoutes } from './orders.ts';
import type { Route } from './route.ts';
import { sessionRoutes } from './session.ts';
import { couponRoutes, notifyRoutes, pointsRoutes } from './users.ts';

/** The routes that only a process with the service serves. */
const ofService = {
  order: { ...orderRoutes, ...auditRoutes.order },
  points: { ...pointsRoutes, ...auditRoutes.points },
  coupon: { ...couponRoutes, ...auditRoutes.coupon },
  notify: { ...notifyRoutes, ...auditRoutes.notify },
  'flash-sale': { ...flashSaleRoutes, ...auditRoutes['flash-sale'] },
} as const satisfies Record<ServiceName, Record<string, Route>>;

export const routesOfService = (service: ServiceName): Readonly<Record<string, Route>> => ofService[service];

/** The routes of a process that serves these services over HTTP, by name. None: it has only the role worker. */
export const routesOf = (services: readonly ServiceName[] = serviceNames): Readonly<Record<string, Route>> => ({
  ...Object.assign({}, ...services.map(routesOfService)),
  ...(services.length > 0 && { ...operatorRoutes, ...sessionRoutes, ...mqttAuthRoutes }),
  ...processRoutes,
  ...documentRoutes,
});

/** The intersection of the types in a union. */
type Intersection<U> = (U extends unknown ? (each: U) => void : never) extends (all: infer All) => void ? All : never;

/** The type of all routes by name. */
export type Routes = Intersection<(typeof ofService)[ServiceName]> &
  typeof operatorRoutes &
  typeof sessionRoutes &
  typeof mqttAuthRoutes &
  typeof processRoutes &
  typeof documentRoutes;
