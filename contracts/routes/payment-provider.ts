import { pageQuery } from '../pages.ts';
import { cancelResponse, chargeRequest, chargeResponse, ledgerEntry, ledgerPage, providerHealth } from '../payments.ts';
import { idOf, type Route } from './route.ts';

const charge = { orderId: idOf('charge') };

/** The routes of a payment provider. The order service uses the first two; the simulated provider has them all. */
export const paymentProviderRoutes = {
  charge: {
    method: 'put',
    path: '/charges/:orderId',
    summary: 'Charge an order',
    access: 'service',
    params: charge,
    body: { schema: chargeRequest },
    responses: { 200: { about: 'The outcome.', json: chargeResponse } },
    problems: ['idempotency-key-reused'],
  },
  cancelCharge: {
    method: 'delete',
    path: '/charges/:orderId',
    summary: 'Refund or prevent the charge of an order',
    access: 'service',
    params: charge,
    responses: { 200: { about: 'Nothing is charged, and nothing will be.', json: cancelResponse } },
  },
  readCharge: {
    method: 'get',
    path: '/charges/:orderId',
    summary: 'Read the ledger about an order',
    access: 'operator',
    params: charge,
    responses: { 200: { about: 'The entry.', json: ledgerEntry } },
  },
  listCharges: {
    method: 'get',
    path: '/charges',
    summary: 'Read the ledger',
    access: 'operator',
    query: pageQuery,
    responses: { 200: { about: 'The newest entries first.', json: ledgerPage } },
  },
  readProviderHealth: {
    method: 'get',
    path: '/healthz',
    summary: 'Tell whether the simulated provider runs',
    access: 'public',
    responses: { 200: { about: 'It runs.', json: providerHealth } },
  },
} as const satisfies Record<string, Route>;
