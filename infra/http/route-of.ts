// The route that handles a request, for metrics: a pattern such as /orders/:id, never the path, which would be a label
// without bounds.
import type { IncomingMessage } from 'node:http';

interface Route {
  readonly path: unknown;
}

/** Express sets this property when it calls the handlers of a route. */
type Routed = IncomingMessage & { route?: Route };

/** For a listener in front of Express, which sets the route again if the request reaches it. */
export function setRoute(request: IncomingMessage, route: Route): void {
  (request as Routed).route = route;
}

/** `unknown` for requests of no route. */
export function routeOf(request: IncomingMessage): string {
  const path = (request as Routed).route?.path;
  return typeof path === 'string' ? path : 'unknown';
}
