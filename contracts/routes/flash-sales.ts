import { z } from 'zod';
import {
  createFlashSaleRequest,
  flashSale,
  flashSalesPage,
  flashSalesQuery,
  purchase,
  purchaseRequest,
  rejections,
  ticket,
} from '../flash-sales.ts';
import { idempotencyKey } from '../idempotency.ts';
import { paymentOutcome } from '../orders.ts';
import { secondsText, userId } from '../text.ts';
import { idOf, type Route } from './route.ts';

const saleId = { id: idOf('flash sale') };
const page = ['text/html'] as const;

// The queries of pages are read tolerantly, because people and programs add parameters to links.
const ticketQuery = z.object({ payment: paymentOutcome.optional().catch(undefined) });
const rejectedQuery = z.object({ reason: z.enum(rejections), userId, retryAfter: secondsText.optional() });

/** The routes of the flash-sale service. */
export const flashSaleRoutes = {
  createFlashSale: {
    method: 'post',
    path: '/flash-sales',
    summary: 'Create a flash sale',
    access: 'operator',
    body: {
      schema: createFlashSaleRequest,
      example: {
        sku: 'CONSOLE',
        name: 'Games console',
        unitPrice: 29_900,
        currency: 'EUR',
        stock: 500,
        queueCap: 200,
        drainPerSecond: 100,
      },
    },
    idempotencyKey,
    responses: {
      201: { about: 'The sale is created.', json: flashSale, headers: ['Location'] },
      200: {
        about: 'An earlier request with the same key and body created this sale.',
        json: flashSale,
        headers: ['Location', 'Idempotency-Replayed'],
      },
    },
    problems: ['idempotency-key-reused'],
  },
  listFlashSales: {
    method: 'get',
    path: '/flash-sales',
    summary: 'List flash sales',
    access: 'buyer',
    query: flashSalesQuery,
    responses: { 200: { about: 'The newest sales first.', json: flashSalesPage } },
  },
  readFlashSale: {
    method: 'get',
    path: '/flash-sales/:id',
    summary: 'Read a flash sale',
    access: 'buyer',
    params: saleId,
    responses: { 200: { about: 'The sale as it is now; to a browser, its page.', json: flashSale, media: page } },
  },
  buy: {
    method: 'post',
    path: '/flash-sales/:id/purchases',
    summary: 'Buy a unit in a flash sale',
    description: 'A buyer holds one live ticket at a time, so repeating it changes nothing.',
    access: 'buyer',
    userIn: 'body',
    params: saleId,
    body: { schema: purchaseRequest, form: true, example: { userId: 'ada' } },
    responses: {
      202: { about: 'The buyer is admitted, and holds this ticket.', json: purchase, headers: ['Location'] },
      200: { about: 'The buyer holds this ticket already.', json: purchase, headers: ['Location'] },
      303: {
        about: 'To a browser: the page of the ticket, or of the rejection.',
        media: page,
        headers: ['Location'],
      },
    },
    problems: ['not-open', 'sold-out', 'queue-full'],
  },
  readTicket: {
    method: 'get',
    path: '/flash-sales/:id/purchases/:ticketId',
    summary: 'Read a ticket',
    access: 'buyer',
    userIn: 'resource',
    params: { ...saleId, ticketId: idOf('ticket') },
    query: ticketQuery,
    responses: { 200: { about: 'The ticket as it is now; to a browser, its page.', json: ticket, media: page } },
  },
  explainRejection: {
    method: 'get',
    path: '/flash-sales/:id/rejected',
    summary: 'Show why a purchase was rejected',
    access: 'buyer',
    userIn: 'query',
    params: saleId,
    query: rejectedQuery,
    responses: { 200: { about: 'A page that tries again by itself if that may help.', media: page } },
  },
} as const satisfies Record<string, Route>;
