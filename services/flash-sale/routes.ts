import type { Request, Response, Router } from 'express';
import type { Counter } from 'prom-client';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import {
  createFlashSaleRequest,
  type FlashSale,
  type Purchase,
  purchaseRequest,
  rejections,
} from '../../contracts/flash-sales.ts';
import { userId } from '../../contracts/text.ts';
import type { Database } from '../../infra/database/port.ts';
import { formOrJsonBody, jsonBody, parse, parseId, prefersHtml, route } from '../../infra/http/app.ts';
import { notFound, Problem } from '../../infra/http/problem.ts';
import { rejectionMessage } from './pages/messages.ts';
import type { Page } from './pages/page.ts';
import { rejectedPage, salePage, ticketPage } from './pages/pages.ts';
import { createReadTicket, type ReadTicket } from './read-ticket.ts';
import type { RejectedPurchase, SaleAdmission } from './sale-admission.ts';
import { findSale, insertSale } from './store/sales.ts';

interface Options {
  readonly database: Database;
  readonly admission: SaleAdmission;
  readonly decisions: Counter<'outcome' | 'by'>;
  /** A sale was created; it may be open. */
  readonly onCreated: () => void;
}

export function flashSaleRoutes(router: Router, options: Options): void {
  const { database, onCreated } = options;
  const readTicket = createReadTicket(database);
  route(router, '/flash-sales', {
    post: [
      jsonBody,
      async (request, response) => {
        const id = uuidv7();
        if (!(await insertSale(database, id, parse(createFlashSaleRequest, request.body)))) throw closesInThePast();
        onCreated();
        response.status(201).location(`/flash-sales/${id}`);
        response.json(await findSale(database, id));
      },
    ],
  });
  route(router, '/flash-sales/:id', {
    get: async (request, response) => {
      const sale = await saleOf(database, request);
      if (prefersHtml(request)) sendPage(response, salePage(sale));
      else response.vary('Accept').json(sale);
    },
  });
  purchaseRoute(router, options, readTicket);
  route(router, '/flash-sales/:id/purchases/:ticketId', {
    get: async (request, response) => {
      const saleId = parseId(request.params.id, 'flash sale');
      const ticketId = parseId(request.params.ticketId, 'ticket');
      const ticket = await readTicket(saleId, ticketId);
      if (!ticket) throw notFound('ticket');
      if (prefersHtml(request)) sendPage(response, ticketPage(await saleOf(database, request), ticketId, ticket));
      else response.vary('Accept').set('Cache-Control', 'no-store').json(ticket);
    },
  });
  route(router, '/flash-sales/:id/rejected', {
    get: async (request, response) => {
      const rejection = parse(rejectedQuery, request.query);
      sendPage(response, rejectedPage(await saleOf(database, request), rejection));
    },
  });
}

function purchaseRoute(router: Router, { admission, decisions }: Options, readTicket: ReadTicket): void {
  route(router, '/flash-sales/:id/purchases', {
    post: [
      formOrJsonBody,
      async (request, response) => {
        const saleId = parseId(request.params.id, 'flash sale');
        const { userId } = parse(purchaseRequest, request.body);
        const html = prefersHtml(request);
        // In a flood most purchases end here, so this rejection costs no query and no exception.
        const rejected = admission.reject(saleId, userId);
        const decided = rejected ?? (await admission.decide(saleId, userId));
        if (!decided) throw notFound('flash sale');
        decisions.inc({ outcome: decided.outcome, by: rejected ? 'snapshot' : 'row' });
        if (!('ticketId' in decided)) {
          if (html) response.vary('Accept').redirect(303, rejectionUrl(saleId, userId, decided));
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
        response.status(isNew ? 202 : 200).location(statusUrl);
        response.json(purchase);
      },
    ],
  });
}

/** Serialized once each: there are few different ones, and they are most of the responses in a flood. */
const problems = new Map<string, Problem>();

function sendRejection(response: Response, { outcome, status, retryAfterSeconds }: RejectedPurchase): void {
  const key = `${outcome} ${status}`;
  let problem = problems.get(key);
  if (!problem) {
    const about = { ...rejectionMessage(outcome, status), headers: { Vary: 'Accept' } };
    problem = new Problem(outcome === 'queue-full' ? 429 : 409, outcome, about);
    problems.set(key, problem);
  }
  problem.send(response, retryAfterSeconds === undefined ? undefined : { 'Retry-After': retryAfterSeconds });
}

/** The path of the page that explains a rejection. */
function rejectionUrl(saleId: string, userId: string, { outcome, retryAfterSeconds }: RejectedPurchase): string {
  const query = new URLSearchParams({ reason: outcome, userId });
  if (retryAfterSeconds !== undefined) query.set('retryAfter', String(retryAfterSeconds));
  return `/flash-sales/${saleId}/rejected?${query}`;
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

async function saleOf(database: Database, request: Request): Promise<FlashSale> {
  const sale = await findSale(database, parseId(request.params.id, 'flash sale'));
  if (!sale) throw notFound('flash sale');
  return sale;
}

/**
 * The same problem as for a body that does not match its schema. Only the database's clock can tell that a sale would
 * be over already.
 */
const closesInThePast = () =>
  new z.ZodError([{ code: 'custom', path: ['closesAt'], message: 'must be in the future', input: undefined }]);

function sendPage(response: Response, { html, headers }: Page): void {
  response.set(headers).send(html);
}
