// Serves routes as they are declared (contracts/routes): each part of a request is checked before a handler sees it.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import { type Access, type Caller, mayActFor } from '../access/caller.ts';
import { type Authentication, admit, callerOf, forbiddenUser, noAuthentication } from './authentication.ts';
import { bodyReader } from './body.ts';
import { notFound, Problem, sendJson } from './problem.ts';

interface PathParameter {
  readonly schema: z.ZodType<string>;
  /** The subject of the 404 for a value that does not match. */
  readonly what: string;
}

/** The part of a route's declaration that serving it needs. */
export interface ServedRoute {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  readonly path: string;
  readonly access: Access;
  /** Where a request names its user, as `userId`. `resource`: the handler knows whose it is (requireOwner). */
  readonly userIn?: 'body' | 'query' | 'params' | 'resource';
  readonly params?: Readonly<Record<string, PathParameter>>;
  readonly query?: z.ZodType;
  readonly body?: { readonly schema: z.ZodType; readonly form?: true; readonly optional?: true };
  readonly idempotencyKey?: z.ZodType<string | undefined>;
  readonly responses: Readonly<Record<number, object>>;
}

/** The parts of a request, parsed as its route declares them. */
export interface Input<R extends ServedRoute> {
  readonly params: R extends { readonly params: infer P }
    ? {
        readonly [Name in keyof P]: P[Name] extends { readonly schema: infer S extends z.ZodType }
          ? z.output<S>
          : never;
      }
    : Readonly<Record<string, never>>;
  readonly query: R extends { readonly query: infer S extends z.ZodType } ? z.output<S> : undefined;
  readonly body: R extends { readonly body: { readonly schema: infer S extends z.ZodType } } ? z.output<S> : undefined;
  /** Undefined if the client sent none. */
  readonly idempotencyKey: string | undefined;
}

/** A JSON response that the route declares. */
export type Reply<R extends ServedRoute> = {
  readonly [S in keyof R['responses'] & number]: R['responses'][S] extends { readonly json: infer J extends z.ZodType }
    ? { readonly status: S; readonly body: z.output<J>; readonly headers: OutgoingHttpHeaders }
    : never;
}[keyof R['responses'] & number];

/** Undefined: the handler has responded itself, with something else than JSON. Throws a Problem for an error. */
export type Handler<R extends ServedRoute> = (
  input: Input<R>,
  request: Request,
  response: Response,
) => Promise<Reply<R> | undefined>;

/** Collects the routes of an application and their handlers. */
export class Api {
  /** By path, in the order in which requests are matched. */
  readonly #handlers = new Map<
    string,
    { readonly method: ServedRoute['method']; readonly handlers: RequestHandler[] }[]
  >();
  readonly #authentication: Authentication;

  constructor(authentication: Authentication = noAuthentication) {
    this.#authentication = authentication;
  }

  handle<const R extends ServedRoute>(route: R, handler: Handler<NoInfer<R>>): void {
    const { method, path, access } = route;
    const respond: RequestHandler = async (request, response) => {
      const answer = await handler(parseRequest(route, request), request, response);
      if (answer) sendReply(response, answer);
    };
    const admitted = admit(this.#authentication, access);
    const handlers = [admitted, ...(route.idempotencyKey ? [] : [rejectIdempotencyKey]), ...readersOf(route), respond];
    this.#handlers.set(path, [...(this.#handlers.get(path) ?? []), { method, handlers }]);
  }

  /**
   * For the handlers of orders and purchases: counts one for the caller, once nothing that costs less has rejected the
   * request. The promise rejects with RateLimited.
   */
  async countOrder(request: Request): Promise<void> {
    await this.#authentication.countOrder(callerOf(request));
  }

  /** Any other method of a path gets a 405. */
  router(): Router {
    const router = Router();
    for (const [path, methods] of this.#handlers) {
      const target = router.route(path);
      for (const { method, handlers } of methods) target[method](...handlers);
      const names = methods.flatMap(({ method }) => (method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]));
      target.all(rejectMethod(names.sort().join(', ')));
    }
    return router;
  }
}

const noFields = z.strictObject({});

/** Reads the body. A route without one rejects the fields of a body that it gets all the same. */
function readersOf({ method, body }: ServedRoute): RequestHandler[] {
  if (method === 'get' || method === 'delete') return [];
  if (body) return [bodyReader(body)];
  const rejectFields: RequestHandler = (request, _response, next) => {
    parse(noFields, request.body ?? {});
    next();
  };
  return [bodyReader({ form: true, optional: true }), rejectFields];
}

const rejectMethod = (allow: string) => () => {
  throw new Problem(405, 'method-not-allowed', {
    title: 'This method is not allowed here',
    detail: `Allowed: ${allow}.`,
    headers: { Allow: allow },
  });
};

const IDEMPOTENCY_KEY = 'Idempotency-Key';

/** A client that sends a key relies on it, so a route that does not honour it rejects it. */
const rejectIdempotencyKey: RequestHandler = (request, _response, next) => {
  if (request.get(IDEMPOTENCY_KEY) === undefined) return next();
  const message = 'must be left out: this request may be repeated without it';
  throw new z.ZodError([{ code: 'custom', path: [IDEMPOTENCY_KEY], message, input: undefined }]);
};

function parseRequest<R extends ServedRoute>(route: R, request: Request): Input<R> {
  const { params = {}, query, body, idempotencyKey, userIn } = route;
  const caller = callerOf(request);
  const given = (part: 'body' | 'query', fields: unknown) => (userIn === part ? withUser(fields, caller) : fields);
  const input = {
    params: Object.fromEntries(
      Object.entries(params).map(([name, parameter]) => [name, parseParameter(parameter, request.params[name])]),
    ),
    query: query && parse(query, given('query', request.query)),
    body: body && parse(body.schema, given('body', body.optional ? (request.body ?? {}) : request.body)),
    idempotencyKey: idempotencyKey && parse(idempotencyKey, request.get(IDEMPOTENCY_KEY), IDEMPOTENCY_KEY),
  } as Input<R>;
  if (userIn !== undefined && userIn !== 'resource') requireUser(caller, userIn, input[userIn]);
  return input;
}

/** A request that names no user is about the user of its token. */
export function withUser(fields: unknown, { user }: Caller): unknown {
  if (user === undefined || typeof fields !== 'object' || fields === null || Array.isArray(fields)) return fields;
  if ('userId' in fields) return fields;
  return { ...fields, userId: user };
}

/** Throws unless the caller may act for the user that a request names. */
function requireUser(caller: Caller, where: 'body' | 'query' | 'params', fields: unknown): void {
  if (mayActFor(caller, (fields as { readonly userId: string }).userId)) return;
  // What is read of another user looks as if it did not exist.
  throw where === 'body' ? forbiddenUser() : notFound('user');
}

/** Returns the parsed value, or throws a ZodError (422) whose paths begin with `name` if given. */
function parse<S extends z.ZodType>(schema: S, value: unknown, name?: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const prefix = name === undefined ? [] : [name];
  throw new z.ZodError(parsed.error.issues.map((issue) => ({ ...issue, path: [...prefix, ...issue.path] })));
}

/** Throws 404 for a path segment that does not match its schema, because no resource can have that name. */
function parseParameter({ schema, what }: PathParameter, value: unknown): string {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw notFound(what);
  return parsed.data;
}

/** A JSON response with this status. */
export const reply = <const S extends number, B>(status: S, body: B, headers: OutgoingHttpHeaders = {}) => ({
  status,
  body,
  headers,
});

export const sendReply = (
  response: ServerResponse,
  { status, body, headers }: { status: number; body: unknown; headers: OutgoingHttpHeaders },
) => sendJson(response, status, body, headers);
