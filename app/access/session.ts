// The routes with which a browser signs in: /session.
import { sessionRoutes as routes } from '../../contracts/routes/session.ts';
import type { Session } from '../../contracts/session.ts';
import { ANONYMOUS, type Caller } from '../../infra/access/caller.ts';
import type { TokenVerifier } from '../../infra/access/tokens.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import { callerOf, REALM, verified } from '../../infra/http/authentication.ts';
import { prefersHtml } from '../../infra/http/prefers-html.ts';
import { Problem } from '../../infra/http/problem.ts';
import { seeOther } from '../../infra/http/see-other.ts';
import { endSession, MAX_COOKIE_TOKEN, setSession } from '../../infra/http/session-cookie.ts';

/** Where a form leads that names no page. */
const DEFAULT_PAGE = '/docs';

/** Without a `verifier`, access control is off, and there is nothing to sign in to. */
export function serveSession(api: Api, verifier: TokenVerifier | undefined): void {
  api.handle(routes.signIn, async ({ body: { token, returnTo = DEFAULT_PAGE } }, request, response) => {
    if (!verifier) throw noSessions();
    if (token.length > MAX_COOKIE_TOKEN) throw tooLong();
    const caller = await verified(verifier, token, request);
    setSession(response, token, caller.expiresAt ?? 0);
    if (!prefersHtml(request)) return reply(200, sessionOf(caller));
    seeOther(response, returnTo);
    return undefined;
  });
  api.handle(routes.readSession, async (_input, request) => reply(200, sessionOf(callerOf(request))));
  api.handle(routes.signOut, async (_input, _request, response) => {
    endSession(response);
    return reply(200, sessionOf(ANONYMOUS));
  });
}

const sessionOf = ({ user, roles, expiresAt }: Caller): Session => ({
  userId: user ?? null,
  roles: [...roles],
  expiresAt: expiresAt === undefined ? null : new Date(expiresAt * 1_000).toISOString(),
});

const noSessions = () =>
  new Problem(404, 'not-found', {
    title: 'There are no sessions here',
    detail: 'AUTH_MODE is none: every request is allowed, without a token.',
  });

const tooLong = () =>
  new Problem(401, 'unauthenticated', {
    title: 'The token is too long for a session',
    detail: `A cookie can hold ${MAX_COOKIE_TOKEN} characters of it. Send it in the header Authorization instead.`,
    headers: { 'WWW-Authenticate': REALM },
  });
