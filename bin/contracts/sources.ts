// Where the gate finds the schemas: the one place that knows how contracts/ declares events and routes.
import { z } from 'zod';
import { eventSchemas } from '../../contracts/events.ts';
import { problem } from '../../contracts/problems.ts';
import { documentRoutes } from '../../contracts/routes/documents.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import { paymentProviderRoutes } from '../../contracts/routes/payment-provider.ts';
import { parameterNames, type Route } from '../../contracts/routes/route.ts';

/**
 * The parts of a request that have a schema; a route without one takes none of it. `path`: the parameters by their
 * position. `form`: the kinds of bodies.
 */
export const parts = ['path', 'form', 'body', 'query', 'headers'] as const;
export type Part = (typeof parts)[number];
type RequestParts = Readonly<Partial<Record<Part, z.ZodType>>>;

export interface SourceRoute {
  readonly method: string;
  /** `:name` stands for one segment. The first route that matches a request applies. */
  readonly path: string;
  readonly request: RequestParts;
  /** By status. */
  readonly responses: Readonly<Record<number, z.ZodType>>;
}

export interface Sources {
  /** By type: the whole envelope. */
  readonly events: Readonly<Record<string, z.ZodType>>;
  readonly routes: readonly SourceRoute[];
  /** The error responses of all routes. */
  readonly problem: z.ZodType;
}

/** The documents describe what is compared here, so they are not compared themselves. */
const described: readonly Route[] = Object.values(documentRoutes);
const compared = [...Object.values(routesOf()), ...Object.values<Route>(paymentProviderRoutes)].filter(
  (route) => !described.includes(route),
);

const pathOf = ({ path, params = {} }: Route) =>
  z.object(
    Object.fromEntries(parameterNames(path).map((name, index) => [index + 1, params[name]?.schema ?? z.string()])),
  );

/** A route without fields in its body takes an empty one. */
const formOf = ({ body }: Route) => {
  const kinds = ['json', ...(body?.form ? ['form'] : []), ...(!body || body.optional ? ['none'] : [])];
  return z.object({ body: z.enum(kinds) });
};

const requestOf = (route: Route): RequestParts => {
  const { method, params, body, query, idempotencyKey } = route;
  return {
    ...(params && { path: pathOf(route) }),
    ...(method !== 'get' && { form: formOf(route) }),
    ...(body && { body: body.schema }),
    ...(query && { query }),
    ...(idempotencyKey && { headers: z.object({ 'idempotency-key': idempotencyKey }) }),
  };
};

/** Those with a JSON body. */
const responsesOf = ({ responses }: Route) =>
  Object.fromEntries(Object.entries(responses).flatMap(([status, { json }]) => (json ? [[status, json]] : [])));

/** One path may stand for several servers: a process and the simulated payment provider have /healthz. */
function routesByKey(): SourceRoute[] {
  const byKey = new Map<string, SourceRoute>();
  for (const route of compared) {
    const key = `${route.method} ${route.path}`;
    const { responses = {}, request = {} } = byKey.get(key) ?? {};
    const own = Object.entries(responsesOf(route)).map(([status, schema]) => {
      const other = responses[Number(status)];
      return [status, other ? z.union([other, schema]) : schema] as const;
    });
    byKey.set(key, {
      method: route.method.toUpperCase(),
      path: route.path,
      request: { ...request, ...requestOf(route) },
      responses: { ...responses, ...Object.fromEntries(own) },
    });
  }
  return [...byKey.values()];
}

export const sources: Sources = { events: eventSchemas, routes: routesByKey(), problem };
