// What a client of the routes needs, typed by their declarations. It loads no schema, so that a browser can use it.
import type { z } from 'zod';
import type { Routes } from './routes/index.ts';
import type { Route } from './routes/route.ts';

type KeyOf<R> = R extends { readonly method: infer M extends string; readonly path: infer P extends string }
  ? `${Uppercase<M>} ${P}`
  : never;

/** All routes by method and path, such as `GET /orders/:id`. */
type ByKey = { readonly [Name in keyof Routes as KeyOf<Routes[Name]>]: Routes[Name] };
export type RouteKey = keyof ByKey;

/** A client writes a number or a list as such, although a query is text. */
type QueryOf<S extends z.ZodType> = {
  readonly [Name in keyof z.input<S>]: Name extends keyof z.output<S> ? z.output<S>[Name] | undefined : never;
};

/** The parts of a request to a route. */
export type RequestOf<Key extends RouteKey> = (ByKey[Key] extends { readonly params: infer P }
  ? { readonly params: { readonly [Name in keyof P]: string } }
  : unknown) &
  (ByKey[Key] extends { readonly query: infer S extends z.ZodType } ? { readonly query?: QueryOf<S> } : unknown) &
  (ByKey[Key] extends { readonly body: { readonly schema: infer S extends z.ZodType } }
    ? { readonly body?: z.input<S> }
    : unknown) &
  (ByKey[Key] extends { readonly idempotencyKey: unknown } ? { readonly idempotencyKey?: string } : unknown);

/** The body of a response with this status; never if the route sends no JSON with it. */
export type BodyOf<Key extends RouteKey, Status extends number> = ByKey[Key] extends {
  readonly responses: { readonly [S in Status]: { readonly json: infer Schema extends z.ZodType } };
}
  ? z.output<Schema>
  : never;

/** A request as it is sent. */
export interface SentRequest {
  readonly method: Uppercase<Route['method']>;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The JSON body; undefined: none. */
  readonly body: string | undefined;
}

interface Parts {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly idempotencyKey?: string;
}

export function requestTo<Key extends RouteKey>(key: Key, parts: RequestOf<Key>): SentRequest {
  const { params = {}, query = {}, body, idempotencyKey } = parts as Parts;
  const [method, path] = key.split(' ') as [SentRequest['method'], string];
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const search = new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)])).toString();
  return {
    method,
    path:
      path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? '')) +
      (search && `?${search}`),
    headers: {
      accept: 'application/json',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  };
}
