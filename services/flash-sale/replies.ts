// The replies about sales, purchases and tickets. The listener in front of Express (front.ts) sends most of them, and the
// routes (routes.ts) send the same.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Purchase, Ticket } from '../../contracts/flash-sales.ts';
import type { flashSaleRoutes } from '../../contracts/routes/flash-sales.ts';
import { type Reply, reply } from '../../infra/http/api.ts';
import { Problem } from '../../infra/http/problem.ts';
import { pathFor } from '../../infra/http/reverse-proxy.ts';
import { seeOther } from '../../infra/http/see-other.ts';
import type { CreateResult } from './create-sale.ts';
import { rejectionMessage } from './pages/messages.ts';
import type { RejectedPurchase } from './sale-admission.ts';

const keyReused = new Problem(422, 'idempotency-key-reused', {
  title: 'This Idempotency-Key belongs to another sale',
  detail: 'The key was used before with another body. Use a new key for a new sale.',
});

/** Throws the Problem of a key that was used before with another body. */
export function createdReply(
  request: IncomingMessage,
  result: Exclude<CreateResult, { readonly outcome: 'over' }>,
): Reply<typeof flashSaleRoutes.createFlashSale> {
  if (result.outcome === 'key-reused') throw keyReused;
  const { outcome, sale } = result;
  const location = { Location: pathFor(request, `/flash-sales/${sale.id}`) };
  if (outcome === 'created') return reply(201, sale, location);
  return reply(200, sale, { ...location, 'Idempotency-Replayed': 'true' });
}

/** A purchase as its client sent it. */
export interface PurchaseRequest {
  readonly saleId: string;
  readonly userId: string;
  /** The response is for a browser: a redirect to a page. */
  readonly byBrowser: boolean;
}

/** Serialized once each: there are few different ones, and they are most of the responses in a flood. */
const problems = new Map<string, Problem>();

function problemOf({ outcome, status }: RejectedPurchase): Problem {
  const key = `${outcome} ${status}`;
  let problem = problems.get(key);
  if (!problem) {
    const about = { ...rejectionMessage(outcome, status), headers: { Vary: 'Accept' } };
    problem = new Problem(outcome === 'queue-full' ? 429 : 409, outcome, about);
    problems.set(key, problem);
  }
  return problem;
}

/** A problem, or for a browser a redirect to the page that explains the rejection. */
export function sendRejection(
  response: ServerResponse,
  { saleId, userId, byBrowser }: PurchaseRequest,
  rejected: RejectedPurchase,
): undefined {
  const { outcome, retryAfterSeconds } = rejected;
  if (byBrowser) {
    const query = new URLSearchParams({ reason: outcome, userId });
    if (retryAfterSeconds !== undefined) query.set('retryAfter', String(retryAfterSeconds));
    seeOther(response, `/flash-sales/${saleId}/rejected?${query}`);
  } else {
    const retryAfter = retryAfterSeconds === undefined ? undefined : { 'Retry-After': retryAfterSeconds };
    problemOf(rejected).send(response, retryAfter);
  }
}

/** The buyer's ticket: 202 if this purchase got it, 200 if the buyer had it before; or a redirect to its page. */
export function purchaseReply(
  response: ServerResponse,
  { saleId, byBrowser }: PurchaseRequest,
  { ticketId, position, isNew }: { readonly ticketId: string; readonly position: number; readonly isNew: boolean },
): Reply<typeof flashSaleRoutes.buy> | undefined {
  const path = `/flash-sales/${saleId}/purchases/${ticketId}`;
  if (byBrowser) {
    seeOther(response, path);
    return undefined;
  }
  const statusUrl = pathFor(response.req, path);
  const body: Purchase = { ticketId, position, statusUrl };
  return reply(isNew ? 202 : 200, body, { Vary: 'Accept', Location: statusUrl });
}

export const ticketReply = (ticket: Ticket): Reply<typeof flashSaleRoutes.readTicket> =>
  reply(200, ticket, { Vary: 'Accept', 'Cache-Control': 'no-store' });
