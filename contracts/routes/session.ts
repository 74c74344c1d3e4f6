import { session, signInRequest } from '../session.ts';
import type { Route } from './route.ts';

/** The routes with which a browser signs in. Programs send their token with every request instead. */
export const sessionRoutes = {
  signIn: {
    method: 'post',
    path: '/session',
    summary: 'Keep a token in a cookie',
    description: 'The cookie counts for reading, and for requests from pages of this server.',
    access: 'public',
    body: { schema: signInRequest, form: true },
    responses: {
      200: { about: 'The session, until the token expires.', json: session, headers: ['Set-Cookie'] },
      303: { about: 'To a form: a redirect to `returnTo`.', media: ['text/html'], headers: ['Location', 'Set-Cookie'] },
    },
    problems: ['unauthenticated', 'rate-limited', 'not-found'],
  },
  readSession: {
    method: 'get',
    path: '/session',
    summary: 'Read who the caller is',
    access: 'buyer',
    responses: { 200: { about: 'The user and the roles of the token.', json: session } },
  },
  signOut: {
    method: 'delete',
    path: '/session',
    summary: 'Remove the cookie',
    description: 'The token itself is valid until it expires.',
    access: 'public',
    responses: { 200: { about: 'Without a user.', json: session, headers: ['Set-Cookie'] } },
  },
} as const satisfies Record<string, Route>;
