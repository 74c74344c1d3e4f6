import type { Request, Response, Router } from 'express';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import {
  createFlashSaleRequest,
  type FlashSaleStatus,
  type Purchase,
  purchaseRequest,
  type Rejection,
  rejections,
} from '../../contracts/flash-sales.ts';
import { userId } from '../../contracts/text.ts';
import type { Database } from '../../infra/database/port.ts';
import { jsonBody, route } from '../../infra/http/app.ts';
import { formOrJsonBody, prefersHtml } from '../../infra/http/forms.ts';
import { notFound, Problem, WrittenProblem } from '../../infra/http/problem.ts';
import { parse, parseId } from '../../infra/http/validate.ts';
import type { Admission } from './admission.ts';
import type { Decided, RejectedPurchase } from './gate.ts';
import type { DecisionCounter } from './metrics.ts';
import type { Page } from './pages/page.ts';
import { rejectedPage } from './pages/rejected-page.ts';
import { salePage } from './pages/sale-page.ts';
import { ticketPage } from './pages/ticket-page.ts';
import { rejectionWords } from './pages/words.ts';
import type { ReadTicket } from './read-ticket.ts';
import { findSale, insertSale } from './store/sales.ts';

export interface FlashSaleRoutesOptions {
  readonly database: Database;
  readonly admission: Admission;
  readonly readTicket: ReadTicket;
  readonly decisions: DecisionCounter;
  /** A sale was created: it may be open. */
  readonly onCreated: () => void;
}

const rejectedQuery = z.object({
  reason: z.enum(rejections),
  userId,
  retryAfter: z
    .string()
    .regex(/^\d{1,12}$/, 'must be a number of seconds')
    .transform(Number)
    .optional(),
});

export function flashSaleRoutes(router: Router, options: FlashSaleRoutesOptions): void {
  const { database, admission, readTicket, decisions, onCreated } = options;

  const saleOf = async (request: Request) => {
    const sale = await findSale(database, parseId(request.params.id, 'flash sale'));
    if (!sale) throw notFound('flash sale');
    return sale;
  };

  route(router, '/flash-sales', {
    post: [
      jsonBody,
      async (request, response) => {
        const id = uuidv7();
        if (!(await insertSale(database, id, parse(createFlashSaleRequest, request.body)))) throw endsBeforeItBegins();
        onCreated();
        const sale = await findSale(database, id);
        response.status(201).location(`/flash-sales/${id}`).json(sale);
      },
    ],
  });

  route(router, '/flash-sales/:id', {
    get: [
      async (request, response) => {
        const sale = await saleOf(request);
        if (prefersHtml(request)) sendPage(response, salePage(sale));
        else response.vary('Accept').json(sale);
      },
    ],
  });

  /** What the flood meets first: it costs no promise, no query and no exception. */
  const rejectAtOnce = (saleId: string, userId: string): RejectedPurchase | undefined => {
    const rejected = admission.reject(saleId, userId);
    if (rejected) decisions.inc({ outcome: rejected.outcome, by: 'hint' });
    return rejected;
  };
  const decide = async (saleId: string, userId: string): Promise<Decided> => {
    const decided = await admission.decide(saleId, userId);
    if (!decided) throw notFound('flash sale');
    decisions.inc({ outcome: decided.outcome, by: 'row' });
    return decided;
  };

  route(router, '/flash-sales/:id/purchases', {
    post: [
      formOrJsonBody,
      async (request, response) => {
        const saleId = parseId(request.params.id, 'flash sale');
        const { userId } = parse(purchaseRequest, request.body);
        const html = prefersHtml(request);
        const decided = rejectAtOnce(saleId, userId) ?? (await decide(saleId, userId));
        if (decided.outcome !== 'admitted' && decided.outcome !== 'yours') {
          if (html) response.vary('Accept').redirect(303, rejectedUrl(saleId, userId, decided));
          else sendRejection(response, decided);
          return;
        }
        const { ticketId } = decided;
        const statusUrl = `/flash-sales/${saleId}/purchases/${ticketId}`;
        response.vary('Accept');
        if (html) return response.redirect(303, statusUrl);
        const isNew = decided.outcome === 'admitted';
        const position = isNew ? decided.position : ((await readTicket(saleId, ticketId))?.position ?? 0);
        const purchase: Purchase = { ticketId, position, statusUrl };
        response
          .status(isNew ? 202 : 200)
          .location(statusUrl)
          .json(purchase);
      },
    ],
  });

  route(router, '/flash-sales/:id/purchases/:ticketId', {
    get: [
      async (request, response) => {
        const saleId = parseId(request.params.id, 'flash sale');
        const ticketId = parseId(request.params.ticketId, 'ticket');
        const ticket = await readTicket(saleId, ticketId);
        if (!ticket) throw notFound('ticket');
        if (prefersHtml(request)) sendPage(response, ticketPage(await saleOf(request), ticketId, ticket));
        else response.vary('Accept').set('Cache-Control', 'no-store').json(ticket);
      },
    ],
  });

  route(router, '/flash-sales/:id/rejected', {
    get: [
      async (request, response) => {
        const { reason, userId, retryAfter } = parse(rejectedQuery, request.query);
        sendPage(response, rejectedPage(await saleOf(request), reason, userId, retryAfter));
      },
    ],
  });
}

const endsBeforeItBegins = () =>
  new Problem(422, 'invalid-request', {
    title: 'The request is not valid',
    detail: 'Invalid field.',
    errors: [{ path: 'closesAt', message: 'must be in the future' }],
  });

function sendPage(response: Response, { html, headers }: Page): void {
  response.set(headers).send(html);
}

function rejectedUrl(saleId: string, userId: string, { outcome, retryAfterSeconds }: RejectedPurchase): string {
  const query = new URLSearchParams({ reason: outcome, userId });
  if (retryAfterSeconds !== undefined) query.set('retryAfter', String(retryAfterSeconds));
  return `/flash-sales/${saleId}/rejected?${query}`;
}

const statusOf: Readonly<Record<Rejection, number>> = { 'not-open': 409, 'sold-out': 409, 'queue-full': 429 };

/** There are few different ones, and in a flood they are most of what is sent. */
const written = new Map<string, WrittenProblem>();
function rejectionOf(outcome: Rejection, status: FlashSaleStatus): WrittenProblem {
  const key = `${outcome} ${status}`;
  let problem = written.get(key);
  if (!problem) {
    const about = { ...rejectionWords(outcome, status), headers: { Vary: 'Accept' } };
    problem = new WrittenProblem(new Problem(statusOf[outcome], outcome, about));
    written.set(key, problem);
  }
  return problem;
}

const sendRejection = (response: Response, { outcome, status, retryAfterSeconds }: RejectedPurchase): void =>
  rejectionOf(outcome, status).send(
    response,
    retryAfterSeconds === undefined ? undefined : { 'Retry-After': retryAfterSeconds },
  );
