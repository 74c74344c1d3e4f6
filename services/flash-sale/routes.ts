import type { IncomingMessage } from 'node:http';
import type { Request, Response } from 'express';
import { z } from 'zod';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { pageOf } from '../../contracts/pages.ts';
import { flashSaleRoutes as routes } from '../../contracts/routes/flash-sales.ts';
import { isOperator } from '../../infra/access/caller.ts';
import type { Database } from '../../infra/database/port.ts';
import { recordActingFor } from '../../infra/http/acting-for.ts';
import { actorOf } from '../../infra/http/actor.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import { callerOf, requireOwner } from '../../infra/http/authentication.ts';
import { prefersHtml } from '../../infra/http/prefers-html.ts';
import { notFound } from '../../infra/http/problem.ts';
import { pathFor } from '../../infra/http/reverse-proxy.ts';
import { sendText } from '../../infra/http/send.ts';
import { createSale } from './create-sale.ts';
import type { Page } from './pages/page.ts';
import { rejectedPage, salePage, ticketPage } from './pages/pages.ts';
import type { ReadTicket } from './read-ticket.ts';
import { createdReply, purchaseReply, sendRejection, ticketReply } from './replies.ts';
import type { SaleAdmission } from './sale-admission.ts';
import { findSale, listSales } from './store/sales.ts';

interface Options {
  readonly database: Database;
  readonly admission: Pick<SaleAdmission, 'reject' | 'decide' | 'returnAttempt'>;
  /** Purchases that the snapshot has seen and not rejected. */
  readonly passedSnapshot: WeakSet<IncomingMessage>;
  readonly readTicket: ReadTicket;
  /** A sale was created; without `opensAt`, it is open. */
  readonly onCreated: (opensAt: string | undefined) => void;
}

export function saleRoutes(api: Api, options: Options): void {
  const { database, readTicket, onCreated } = options;
  api.handle(routes.createFlashSale, async ({ body, idempotencyKey }, request) => {
    const result = await createSale(database, body, actorOf(request), idempotencyKey);
    if (result.outcome === 'over') throw closesInThePast();
    if (result.outcome === 'created') onCreated(body.opensAt);
    return createdReply(request, result);
  });
  api.handle(routes.listFlashSales, async ({ query: { status, after, limit } }) =>
    reply(200, pageOf(await listSales(database, status, after, limit + 1), limit)),
  );
  api.handle(routes.readFlashSale, async ({ params: { id } }, request, response) => {
    const sale = await saleOf(database, id);
    if (!prefersHtml(request)) return reply(200, sale, { Vary: 'Accept' });
    return sendPage(response, salePage(sale, linksOf(request), buyerOf(request)));
  });
  const record: RecordPurchase = (request, target, user) =>
    recordActingFor(
      database,
      request,
      { action: 'flash-sale.buy', service: 'flash-sale', target, user },
      { before: null, after: {} },
    );
  purchaseRoute(api, { ...options, record });
  api.handle(routes.readTicket, async ({ params: { id, ticketId }, query: { payment } }, request, response) => {
    const found = await readTicket(id, ticketId);
    await requireOwner(request, 'ticket', async () => found?.userId);
    if (!found) throw notFound('ticket');
    const { ticket } = found;
    if (!prefersHtml(request)) return ticketReply(ticket);
    const sale = await saleOf(database, id);
    return sendPage(response, ticketPage(sale, { ...ticket, id: ticketId, payment }, linksOf(request)));
  });
  api.handle(routes.explainRejection, async ({ params: { id }, query }, request, response) =>
    sendPage(response, rejectedPage(await saleOf(database, id), query, linksOf(request))),
  );
}

/** Records the purchase that an operator makes for a user. */
type RecordPurchase = (request: Request, saleId: string, userId: string) => Promise<void>;

export function purchaseRoute(
  api: Api,
  {
    admission,
    passedSnapshot,
    readTicket,
    record,
  }: Pick<Options, 'admission' | 'passedSnapshot' | 'readTicket'> & { readonly record: RecordPurchase },
): void {
  api.handle(routes.buy, async ({ params: { id: saleId }, body: { userId } }, request, response) => {
    const purchase = { saleId, userId, byBrowser: prefersHtml(request) };
    const attempt = { saleId, userId, request };
    const rejected = passedSnapshot.has(request) ? undefined : admission.reject(attempt);
    if (!rejected) {
      await Promise.all([api.countOrder(request), record(request, saleId, userId)]).catch((error) => {
        admission.returnAttempt(attempt);
        throw error;
      });
    }
    const decided = rejected ?? (await admission.decide(attempt));
    if (!decided) throw notFound('flash sale');
    if (!('ticketId' in decided)) return sendRejection(response, purchase, decided);
    const { ticketId } = decided;
    const isNew = decided.outcome === 'admitted';
    const position = isNew ? decided.position : ((await readTicket(saleId, ticketId))?.ticket.position ?? 0);
    return purchaseReply(response, purchase, { ticketId, position, isNew });
  });
}

/** The user for whom a page is made, who can buy for nobody else. */
function buyerOf(request: Request): string | undefined {
  const caller = callerOf(request);
  return isOperator(caller) ? undefined : caller.user;
}

const linksOf = (request: Request) => (path: string) => pathFor(request, path);

async function saleOf(database: Database, id: string): Promise<FlashSale> {
  const sale = await findSale(database, id);
  if (!sale) throw notFound('flash sale');
  return sale;
}

/**
 * The same problem as for a body that does not match its schema. Only the database's clock can tell that a sale would
 * be over already.
 */
const closesInThePast = () =>
  new z.ZodError([{ code: 'custom', path: ['closesAt'], message: 'must be in the future', input: undefined }]);

function sendPage(response: Response, { html, headers }: Page): undefined {
  sendText(response, 200, headers, html);
}
