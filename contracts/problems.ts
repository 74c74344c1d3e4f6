// Errors are RFC 9457 problem details, as application/problem+json.
import { z } from 'zod';
import type { ResponseHeader } from './response-headers.ts';

export interface ProblemKind {
  readonly status: number;
  readonly about: string;
  /** That its responses always have. */
  readonly headers?: readonly ResponseHeader[];
}

/** All problems by their name, which is the end of their `type`: their status and what they mean. */
export const problems = {
  'malformed-body': { status: 400, about: 'The body cannot be read: it is not JSON, not UTF-8, or incomplete.' },
  'bad-request': { status: 400, about: 'The request cannot be read.' },
  unauthenticated: { status: 401, about: 'The request needs a token, and has none or one that is not valid.' },
  'payment-declined': { status: 402, about: 'The payment was declined; nothing was charged.' },
  forbidden: { status: 403, about: 'The token lacks a role, or is that of another user.' },
  'cross-site': {
    status: 403,
    about: 'A page of another site must not cause this request; `CORS_ORIGINS` names the sites that may.',
  },
  'not-found': { status: 404, about: 'There is no such resource.' },
  'method-not-allowed': { status: 405, about: 'The resource has no such method; `Allow` lists those that it has.' },
  'request-timeout': { status: 408, about: 'The request did not arrive within the time for it.' },
  'not-payable': { status: 409, about: 'The order has expired, is cancelled, or requires no payment.' },
  'payment-under-way': {
    status: 409,
    about: 'A payment of the order is in progress; its outcome must be known first.',
  },
  'message-truncated': { status: 409, about: 'The message was too large to be stored whole, so it cannot be retried.' },
  'message-not-dead': {
    status: 409,
    about: 'The message still has attempts left; only a dead message can be discarded or corrected.',
  },
  'message-not-correctable': { status: 409, about: 'The event cannot be read, so its data cannot be corrected.' },
  'not-open': { status: 409, about: 'The sale has not opened yet, or has closed.' },
  'sold-out': { status: 409, about: 'All units are sold or held.' },
  'body-too-large': { status: 413, about: 'The body is too large.' },
  'unsupported-media-type': { status: 415, about: 'The media type, encoding or charset of the body is not supported.' },
  'unknown-host': {
    status: 421,
    about: 'The server has no such name: `Host` is none of localhost, an IP address and the names in `ALLOWED_HOSTS`.',
  },
  'invalid-request': { status: 422, about: 'Fields, parameters or headers are invalid; `errors` names each of them.' },
  'idempotency-key-reused': { status: 422, about: 'The `Idempotency-Key` was used before, with another body.' },
  'rate-limited': {
    status: 429,
    about:
      'The user has placed too many orders and purchases, or too many invalid tokens came from the address of the client; `Retry-After` and `RateLimit` say when to try again.',
    headers: ['Retry-After', 'RateLimit-Policy', 'RateLimit'],
  },
  'queue-full': { status: 429, about: 'The queue of the sale is full; `Retry-After` says when a place is likely.' },
  'headers-too-large': { status: 431, about: 'The headers are too many, or larger than 16 KiB.' },
  'internal-error': { status: 500, about: 'An unexpected error, which is logged.' },
  unavailable: { status: 503, about: 'A resource is away, or the load is too high; retrying is safe.' },
} as const satisfies Record<string, ProblemKind>;

export type ProblemName = keyof typeof problems;

export const problem = z
  .object({
    type: z.string().regex(/^\/problems\/[a-z-]+$/),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().optional(),
    errors: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .optional()
      .describe('The fields at fault; `path` is such as `items.0.quantity`.'),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details.' });
