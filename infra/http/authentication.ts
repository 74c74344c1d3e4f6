// The caller of a request: from the header Authorization, or from the session cookie of a browser. Every route admits
// its callers (api.ts); the listeners in front of the router ask for callers that are known without waiting.
import type { IncomingMessage } from 'node:http';
import type { RequestHandler } from 'express';
import { type Access, ANONYMOUS, type Caller, isOperator, LOCAL, mayActFor, mayUse } from '../access/caller.ts';
import type { RateLimit } from '../access/rate-limit.ts';
import { KeysUnavailable, RateLimited, TokenRejected } from '../access/rejections.ts';
import type { TokenVerifier } from '../access/tokens.ts';
import { prefersHtml } from './prefers-html.ts';
import { notFound, Problem, rateLimited, unavailable } from './problem.ts';
import { clientAddress } from './reverse-proxy.ts';
import { sessionToken } from './session-cookie.ts';
import { sendSignInPage } from './sign-in-page.ts';

export interface Authentication {
  /** The caller, if that is known without waiting; otherwise undefined. */
  known(request: IncomingMessage): Caller | undefined;
  /**
   * Rejects with a Problem: 401 for a token that is not valid, 429 after too many of those from the client's address,
   * 503 if the key cannot be read.
   */
  callerOf(request: IncomingMessage): Promise<Caller>;
  /** A buyer whose token is signed and has not expired, but is not verified in full: enough for a rejection from memory. */
  signedBuyer(request: IncomingMessage): Caller;
  /** Counts an order or purchase, unless an operator or a service makes it. Rejects with RateLimited beyond the limit. */
  countOrder(caller: Caller): Promise<void>;
}

/** Without access control. */
export const noAuthentication: Authentication = {
  known: () => LOCAL,
  callerOf: async () => LOCAL,
  signedBuyer: () => LOCAL,
  countOrder: async () => undefined,
};

export class TokenAuthentication implements Authentication {
  readonly #verifier: TokenVerifier;
  readonly #orders: RateLimit | undefined;

  /** `orders`: the limit on the orders and purchases of a user; undefined: none. */
  constructor(verifier: TokenVerifier, orders?: RateLimit) {
    this.#verifier = verifier;
    this.#orders = orders;
  }

  known(request: IncomingMessage): Caller | undefined {
    const token = tokenOf(request);
    return token === undefined ? ANONYMOUS : this.#verifier.known(token);
  }

  async callerOf(request: IncomingMessage): Promise<Caller> {
    const token = tokenOf(request);
    return token === undefined ? ANONYMOUS : verified(this.#verifier, token, request);
  }

  signedBuyer(request: IncomingMessage): Caller {
    const token = tokenOf(request);
    const user = token === undefined ? undefined : this.#verifier.signedUser(token);
    return user === undefined ? ANONYMOUS : { who: user, user, roles: [] };
  }

  async countOrder({ user, roles }: Caller): Promise<void> {
    if (user !== undefined && roles.length === 0) await this.#orders?.count(user);
  }
}

/** Rejects with a Problem, as Authentication.callerOf does. */
export async function verified(verifier: TokenVerifier, token: string, request: IncomingMessage): Promise<Caller> {
  try {
    return await verifier.verify(token, clientAddress(request));
  } catch (error) {
    if (error instanceof RateLimited) throw rateLimited(error);
    if (error instanceof TokenRejected) throw unauthenticated(error.message);
    if (error instanceof KeysUnavailable) throw unavailable('The keys of the identity provider cannot be read.', 5);
    throw error;
  }
}

/** RFC 6750. The scheme has no case. */
const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i;

/** RFC 7617. */
const BASIC = /^Basic +([A-Za-z0-9+/]+=*) *$/i;
const BASIC_USER = 'token:';
const BROKERS_PATH = '/mqtt-auth/';

/**
 * The header counts before the cookie. One of another scheme, such as for a proxy in front, is no token. RabbitMQ can send
 * no other header than that of a user and a password, so on its routes the user `token` has its token as password. On
 * others, a browser might send it by itself.
 */
function tokenOf(request: IncomingMessage): string | undefined {
  const { authorization = '' } = request.headers;
  const bearer = BEARER.exec(authorization)?.[1];
  if (bearer !== undefined) return bearer;
  return request.url?.startsWith(BROKERS_PATH) ? basicToken(authorization) : sessionToken(request);
}

function basicToken(authorization: string): string | undefined {
  const credentials = Buffer.from(BASIC.exec(authorization)?.[1] ?? '', 'base64').toString('latin1');
  return credentials.startsWith(BASIC_USER) ? credentials.slice(BASIC_USER.length) : undefined;
}

const callers = new WeakMap<IncomingMessage, Caller>();

/** The caller that a route has admitted. */
export function callerOf(request: IncomingMessage): Caller {
  const caller = callers.get(request);
  if (!caller) throw new Error('the request was not admitted');
  return caller;
}

/** Admits the callers that a route is for. Instead of a 401, a browser gets a page with which it can sign in. */
export function admit(authentication: Authentication, access: Access): RequestHandler {
  return (request, response, next) => {
    const enter = (caller: Caller) => {
      if (!mayUse(caller, access)) throw caller === ANONYMOUS ? unauthenticated() : forbidden(access);
      callers.set(request, caller);
      next();
    };
    const reject = (error: unknown) => {
      if (!(error instanceof Problem)) return next(error);
      // A public route does not depend on the token.
      if (access === 'public') return enter(ANONYMOUS);
      if (error.status !== 401 || request.method !== 'GET' || !prefersHtml(request)) return next(error);
      sendSignInPage(request, response, error);
    };
    const known = authentication.known(request);
    if (known && mayUse(known, access)) return enter(known);
    authentication.callerOf(request).then(enter).catch(reject);
  };
}

/** For a listener in front of the router. False: the router must decide about this request. */
export function admitKnown(authentication: Authentication, access: Access, request: IncomingMessage): boolean {
  const caller = authentication.known(request);
  if (!caller || !mayUse(caller, access)) return false;
  callers.set(request, caller);
  return true;
}

/** Of a 401. */
export const REALM = 'Bearer realm="sluice"';

/** RFC 6750, section 3. `reason`: why the token is not valid. */
function unauthenticated(reason?: string): Problem {
  return new Problem(401, 'unauthenticated', {
    title: reason === undefined ? 'This needs a token' : 'The token is not valid',
    detail:
      reason === undefined
        ? 'Send `Authorization: Bearer <token>`, or sign in with POST /session.'
        : `The token was rejected: ${reason}.`,
    headers: {
      'WWW-Authenticate':
        reason === undefined ? REALM : `${REALM}, error="invalid_token", error_description="${reason}"`,
    },
  });
}

const forbidden = (access: Access) =>
  new Problem(403, 'forbidden', {
    title: 'The token does not allow this',
    detail: `It needs the role ${access === 'service' ? 'operator or service' : 'operator'}.`,
    headers: { 'WWW-Authenticate': `${REALM}, error="insufficient_scope"` },
  });

export const forbiddenUser = () =>
  new Problem(403, 'forbidden', {
    title: 'The token is that of another user',
    detail: 'Leave out `userId`, or send the user of the token. Only an operator acts for other users.',
  });

/**
 * Rejects with the 404 of a `what` that does not exist, unless the caller may act for its owner. `ownerOf` resolves with
 * undefined if it does not exist; it is not called for operators, who may act for everybody.
 */
export async function requireOwner(
  request: IncomingMessage,
  what: string,
  ownerOf: () => Promise<string | undefined>,
): Promise<void> {
  const caller = callerOf(request);
  if (isOperator(caller)) return;
  const owner = await ownerOf();
  if (owner === undefined || !mayActFor(caller, owner)) throw notFound(what);
}
