// POST /session, GET /session, DELETE /session
import { z } from 'zod';
import { instant } from './text.ts';

/** Printable ASCII. A browser takes a second slash, of either kind, for the beginning of a host. */
const path = z.string().regex(/^\/(?:[!-.0-[\]-~][!-~]{0,499})?$/, 'must be a path of this server');

export const signInRequest = z.strictObject({
  token: z.string().trim().min(1).max(8_192).describe('A JWT, as in the header Authorization.'),
  returnTo: path.optional().describe('Of a form: the page to show next.'),
});

export const session = z
  .object({
    userId: z.string().nullable().describe('The user of the token; null without one, and while access control is off.'),
    roles: z.array(z.string()).describe('What it may do besides what a buyer may.'),
    expiresAt: instant.nullable().describe('When it ends; null: never.'),
  })
  .meta({ id: 'Session' });
export type Session = z.infer<typeof session>;
