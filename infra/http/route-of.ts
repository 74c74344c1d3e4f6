// The route that handles a request, for metrics: a pattern such as /orders/:id, never the path, which would be a label
// without bounds.
import type { IncomingMessage } from 'node:http';

interface Route {
  readonly path: unknown;
}

/** Express sets this property when it calls the handlers of a route. */
type Routed = IncomingMessage & { route?: Route };

/** A route of a listener in front of Express, as Express would name it. To be created once, because it is cheap to set. */
export const frontRoute = (path: string): Route => ({ path });

/** To be called by a listener in front of Express for the requests of its route. Express sets it again, if they reach it. */
export function setRoute(request: IncomingMessage, route: Route): void {
  (request as Routed).route = route;
}

/** `unknown` for requests of no route. */
export function routeOf(request: IncomingMessage): string {
  const path = (request as Routed).route?.path;
  return typeof path === 'string' ? path : 'unknown';
}
