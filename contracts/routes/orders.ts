import { orderHistory } from '../history.ts';
import { idempotencyKey } from '../idempotency.ts';
import { cancelRequest, order, ordersPage, payRequest, placeOrderRequest } from '../orders.ts';
import { userQuery } from '../pages.ts';
import { idOf, type Route } from './route.ts';

const orderId = { id: idOf('order') };
const ticketPage = {
  about: 'To the form on the page of a ticket: a redirect to that page.',
  media: ['text/html'],
} as const;

/** The routes of the order service. */
export const orderRoutes = {
  placeOrder: {
    method: 'post',
    path: '/orders',
    summary: 'Place an order',
    description: 'The response does not wait for points, coupon and notification: read the order to see its steps.',
    access: 'buyer',
    userIn: 'body',
    body: {
      schema: placeOrderRequest,
      example: {
        userId: 'ada',
        currency: 'GBP',
        items: [{ sku: 'MUG', name: 'Mug', quantity: 3, unitPrice: 1999 }],
      },
    },
    idempotencyKey,
    responses: {
      201: { about: 'The order is placed.', json: order, headers: ['Location'] },
      200: {
        about: 'An earlier request with the same key and body placed this order.',
        json: order,
        headers: ['Location', 'Idempotency-Replayed'],
      },
    },
    problems: ['idempotency-key-reused'],
  },
  listOrders: {
    method: 'get',
    path: '/orders',
    summary: 'List the orders of a user',
    access: 'buyer',
    userIn: 'query',
    query: userQuery,
    responses: { 200: { about: 'The newest orders first.', json: ordersPage } },
  },
  readOrder: {
    method: 'get',
    path: '/orders/:id',
    summary: 'Read an order',
    access: 'buyer',
    userIn: 'resource',
    params: orderId,
    responses: { 200: { about: 'The order as it is now.', json: order } },
  },
  readHistory: {
    method: 'get',
    path: '/orders/:id/history',
    summary: 'Read what happened to an order',
    description:
      'From what the services store, in the order of time. A service that does not respond within a second is named.',
    access: 'operator',
    params: orderId,
    responses: { 200: { about: 'The newest items, the oldest of them first.', json: orderHistory } },
  },
  cancelOrder: {
    method: 'post',
    path: '/orders/:id/cancel',
    summary: 'Cancel an order',
    description: 'Points and coupon are revoked, and a payment is refunded, afterwards. Repeating it changes nothing.',
    access: 'buyer',
    userIn: 'resource',
    params: orderId,
    body: { schema: cancelRequest, optional: true, example: { reason: 'changed my mind' } },
    responses: { 200: { about: 'The cancelled order.', json: order } },
    problems: ['payment-under-way'],
  },
  payOrder: {
    method: 'post',
    path: '/orders/:id/pay',
    summary: 'Pay an order that awaits payment',
    description: 'Repeating it changes nothing.',
    access: 'buyer',
    userIn: 'resource',
    params: orderId,
    body: { schema: payRequest, form: true, optional: true },
    responses: { 200: { about: 'The paid order.', json: order }, 303: ticketPage },
    problems: ['payment-declined', 'not-payable'],
  },
} as const satisfies Record<string, Route>;
