import type { IncomingMessage } from 'node:http';
import type { Request, Response, Router } from 'express';
import { z } from 'zod';
import {
  createFlashSaleRequest,
  type FlashSale,
  flashSalesQuery,
  purchaseRequest,
  rejections,
} from '../../contracts/flash-sales.ts';
import { idempotencyKey } from '../../contracts/idempotency.ts';
import { paymentOutcome } from '../../contracts/orders.ts';
import { pageOf } from '../../contracts/pages.ts';
import { userId } from '../../contracts/text.ts';
import type { Database } from '../../infra/database/port.ts';
import { actorOf } from '../../infra/http/actor.ts';
import { formOrJsonBody, IDEMPOTENCY_KEY, jsonBody, parse, parseId, prefersHtml, route } from '../../infra/http/app.ts';
import { notFound } from '../../infra/http/problem.ts';
import { pathFor } from '../../infra/http/reverse-proxy.ts';
import { createSale } from './create-sale.ts';
import type { Page } from './pages/page.ts';
import { rejectedPage, salePage, ticketPage } from './pages/pages.ts';
import type { ReadTicket } from './read-ticket.ts';
import { sendCreated, sendPurchase, sendRejection, sendTicket } from './responses.ts';
import type { SaleAdmission } from './sale-admission.ts';
import { findSale, listSales } from './store/sales.ts';

interface Options {
  readonly database: Database;
  readonly admission: Pick<SaleAdmission, 'reject' | 'decide'>;
  /** Purchases that the snapshot has seen and not rejected. */
  readonly passedSnapshot: WeakSet<IncomingMessage>;
  readonly readTicket: ReadTicket;
  /** A sale was created; without `opensAt`, it is open. */
  readonly onCreated: (opensAt: string | undefined) => void;
}

export function flashSaleRoutes(router: Router, options: Options): void {
  const { database, readTicket, onCreated } = options;
  route(router, '/flash-sales', {
    honoursIdempotencyKey: 'post',
    post: [
      jsonBody,
      async (request, response) => {
        const terms = parse(createFlashSaleRequest, request.body);
        const key = parse(idempotencyKey, request.get(IDEMPOTENCY_KEY), IDEMPOTENCY_KEY);
        const result = await createSale(database, terms, actorOf(request), key);
        if (result.outcome === 'over') throw closesInThePast();
        if (result.outcome === 'created') onCreated(terms.opensAt);
        sendCreated(response, result);
      },
    ],
    get: async (request, response) => {
      const { status, after, limit } = parse(flashSalesQuery, request.query);
      response.json(pageOf(await listSales(database, status, after, limit + 1), limit));
    },
  });
  route(router, '/flash-sales/:id', {
    get: async (request, response) => {
      const sale = await saleOf(database, request);
      if (prefersHtml(request)) sendPage(response, salePage(sale, linksOf(request)));
      else response.vary('Accept').json(sale);
    },
  });
  purchaseRoute(router, options);
  route(router, '/flash-sales/:id/purchases/:ticketId', {
    get: async (request, response) => {
      const saleId = parseId(request.params.id, 'flash sale');
      const ticketId = parseId(request.params.ticketId, 'ticket');
      const ticket = await readTicket(saleId, ticketId);
      if (!ticket) throw notFound('ticket');
      if (prefersHtml(request)) {
        const { payment } = parse(ticketQuery, request.query);
        const sale = await saleOf(database, request);
        sendPage(response, ticketPage(sale, { ...ticket, id: ticketId, payment }, linksOf(request)));
      } else sendTicket(response, ticket);
    },
  });
  route(router, '/flash-sales/:id/rejected', {
    get: async (request, response) => {
      const rejection = parse(rejectedQuery, request.query);
      sendPage(response, rejectedPage(await saleOf(database, request), rejection, linksOf(request)));
    },
  });
}

export function purchaseRoute(
  router: Router,
  { admission, passedSnapshot, readTicket }: Pick<Options, 'admission' | 'passedSnapshot' | 'readTicket'>,
): void {
  route(router, '/flash-sales/:id/purchases', {
    post: [
      formOrJsonBody,
      async (request, response) => {
        const saleId = parseId(request.params.id, 'flash sale');
        const { userId } = parse(purchaseRequest, request.body);
        const purchase = { saleId, userId, byBrowser: prefersHtml(request) };
        const attempt = { saleId, userId, request };
        const rejected = passedSnapshot.has(request) ? undefined : admission.reject(attempt);
        const decided = rejected ?? (await admission.decide(attempt));
        if (!decided) throw notFound('flash sale');
        if (!('ticketId' in decided)) return sendRejection(response, purchase, decided);
        const { ticketId } = decided;
        const isNew = decided.outcome === 'admitted';
        const position = isNew ? decided.position : ((await readTicket(saleId, ticketId))?.position ?? 0);
        sendPurchase(response, purchase, { ticketId, position, isNew });
      },
    ],
  });
}

// The queries of pages are read tolerantly, because people and programs add parameters to links.
const ticketQuery = z.object({ payment: paymentOutcome.optional() });

const rejectedQuery = z.object({
  reason: z.enum(rejections),
  userId,
  retryAfter: z
    .string()
    .regex(/^\d{1,12}$/, 'must be a number of seconds')
    .transform(Number)
    .optional(),
});

const linksOf = (request: Request) => (path: string) => pathFor(request, path);

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
