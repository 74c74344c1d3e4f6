// The schemas of all events, requests and responses as one JSON document: what the baseline records.
import type { z } from 'zod';
import { type JsonSchema, toJsonSchema } from './json-schema.ts';
import { sources as currentSources, type Part, type SourceRoute, type Sources } from './sources.ts';

export interface RouteSchemas {
  readonly request: Readonly<Partial<Record<Part, JsonSchema>>>;
  /** By status. */
  readonly responses: Readonly<Record<string, JsonSchema>>;
}

export interface ContractSchemas {
  /** By type. */
  readonly events: Readonly<Record<string, JsonSchema>>;
  /** By method and path, such as `GET /orders/{}`. The name of a parameter is no part of the contract. */
  readonly routes: Readonly<Record<string, RouteSchemas>>;
  /** The error responses of all routes. */
  readonly problem: JsonSchema;
}

export const routeKey = ({ method, path }: Pick<SourceRoute, 'method' | 'path'>): string =>
  `${method} ${path.replaceAll(/:\w+|\{\w+\}/g, '{}')}`;

const mapped = (schemas: Readonly<Record<string, z.ZodType | undefined>>): Record<string, JsonSchema> =>
  Object.fromEntries(
    Object.entries(schemas).flatMap(([name, schema]) => (schema ? [[name, toJsonSchema(schema)]] : [])),
  );

export const contractSchemas = (sources: Sources = currentSources): ContractSchemas => ({
  events: mapped(sources.events),
  routes: Object.fromEntries(
    sources.routes.map((route) => [
      routeKey(route),
      { request: mapped(route.request), responses: mapped(route.responses) },
    ]),
  ),
  problem: toJsonSchema(sources.problem),
});

/** One line for each schema, so that a difference between two recordings can be read. */
export function printed({ events, routes, problem }: ContractSchemas): string {
  const lines = (schemas: object) =>
    Object.entries(schemas)
      .map(([name, schema]) => `      ${JSON.stringify(name)}: ${JSON.stringify(schema)}`)
      .join(',\n');
  const blocks = Object.entries(routes).map(
    ([key, { request, responses }]) =>
      `    ${JSON.stringify(key)}: {\n     "request": {\n${lines(request)}\n     },\n     "responses": {\n${lines(responses)}\n     }\n    }`,
  );
  return `{\n  "events": {\n${lines(events)}\n  },\n  "routes": {\n${blocks.join(',\n')}\n  },\n  "problem": ${JSON.stringify(problem)}\n}\n`;
}
