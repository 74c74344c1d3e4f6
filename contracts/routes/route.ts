// The form in which a route is declared. Router, validation, the types of handlers and clients, the listeners in front of
// the router, the tests and the OpenAPI document all come from these declarations.
import type { z } from 'zod';
import type { idempotencyKey } from '../idempotency.ts';
import type { ProblemName } from '../problems.ts';
import type { ResponseHeader } from '../response-headers.ts';
import { uuid } from '../text.ts';

/**
 * The callers that a route is for. `buyer`: the user that the request is about; `operator`: people who run the system;
 * `service`: other processes of the system, and operators.
 */
type Access = 'public' | 'buyer' | 'operator' | 'service';

/** A segment such as `:id`. For a value that does not match, there is no such `what`: 404. */
interface PathParameter {
  readonly schema: z.ZodType<string>;
  readonly what: string;
}

interface Body {
  readonly schema: z.ZodType;
  /** A valid body, for the documents. A test sends it. */
  readonly example?: object;
  /** An HTML form may send the same fields. */
  readonly form?: true;
  /** A request without a body is one without fields. */
  readonly optional?: true;
}

export interface Answer {
  /** What the response says, as a sentence. */
  readonly about: string;
  /** The schema of the JSON body. Without one, the body is no JSON. */
  readonly json?: z.ZodType;
  /** The media types of other bodies, such as a page for a client that prefers HTML. */
  readonly media?: readonly string[];
  readonly headers?: readonly ResponseHeader[];
}

export interface Route {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  /** A segment `:name` is a parameter. */
  readonly path: `/${string}`;
  /** In the imperative, without a full stop. */
  readonly summary: string;
  readonly description?: string;
  readonly access: Access;
  /**
   * Of a route for buyers: where a request names its user, as `userId`. With a token, another user is 403 in a body and
   * 404 elsewhere; none means the user of the token. `resource`: the order or ticket has a user; that of another one is
   * 404. Unset: the same for all buyers.
   */
  readonly userIn?: 'body' | 'query' | 'params' | 'resource';
  readonly params?: Readonly<Record<string, PathParameter>>;
  /** Unset: parameters after `?` mean nothing and are not read. */
  readonly query?: z.ZodType;
  /** Unset: a body must have no fields. */
  readonly body?: Body;
  /** Repeating the request with the same `Idempotency-Key` changes nothing. Other routes reject this header. */
  readonly idempotencyKey?: typeof idempotencyKey;
  /** By status below 400. */
  readonly responses: Readonly<Record<number, Answer>>;
  /** Error responses that are the route's own. Those that follow from the rest of the declaration are not listed. */
  readonly problems?: readonly ProblemName[];
}

/** A server responds with these before it knows the route. */
const ofEveryRoute = ['bad-request', 'request-timeout', 'unknown-host', 'headers-too-large', 'unavailable'] as const;

/** Names the error responses of a route: those that it declares, and those that follow from its declaration. */
export const problemsOf = ({ method, access, userIn, params, problems = [] }: Route): readonly ProblemName[] => [
  ...(method === 'get' ? [] : (['cross-site'] as const)),
  ...(method === 'get' || method === 'delete'
    ? []
    : (['malformed-body', 'body-too-large', 'unsupported-media-type'] as const)),
  ...(access === 'public' ? [] : (['unauthenticated', 'forbidden', 'rate-limited'] as const)),
  ...(params || userIn === 'query' ? (['not-found'] as const) : []),
  'invalid-request', // every route: for a header Idempotency-Key that means nothing there, at the least
  ...problems,
  ...ofEveryRoute,
];

/** The parameter for the id of a `what`. */
export const idOf = <What extends string>(what: What) => ({ schema: uuid, what });

/** The names of the parameters in a path. */
export const parameterNames = (path: string): string[] => [...path.matchAll(/:(\w+)/g)].map(([, name]) => name ?? '');

/** Whether `pathname`, of a request, is that of a route. */
export const matchesPath = (path: string, pathname: string): boolean =>
  new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}$`).test(pathname);
