import { z } from 'zod';
import {
  type FactList,
  factLists,
  factsPage,
  factsQuery,
  messagesAbout,
  messagesQuery,
  messagesSummary,
  resendRequest,
  resent,
} from '../facts.ts';
import { historyPart, historyPartQuery } from '../history.ts';
import type { ServiceName } from '../services.ts';
import { idOf, type Route } from './route.ts';

/** What `sluice audit` compares. `list`: its path below /audit/. */
export const factsRoute = <List extends FactList>(list: List) =>
  ({
    method: 'get',
    path: `/audit/${list}`,
    summary: `Read the facts of ${list}`,
    access: 'service',
    query: factsQuery,
    responses: { 200: { about: 'One fact for each id, in the order of the ids.', json: factsPage(factLists[list]) } },
  }) as const satisfies Route;

export const messagesRoute = <Service extends ServiceName>(service: Service) =>
  ({
    method: 'get',
    path: `/audit/${service}/messages`,
    summary: `Count or locate the stored messages of ${service}`,
    access: 'service',
    query: messagesQuery,
    responses: {
      200: {
        about: 'The sizes of outbox and inbox; with `ids`, the places of the messages about them.',
        json: z.union([messagesSummary, messagesAbout]),
      },
    },
  }) as const satisfies Route;

export const resendRoute = <Service extends ServiceName>(service: Service) =>
  ({
    method: 'post',
    path: `/audit/${service}/resend`,
    summary: `Resend the last requests of ${service} about the ids`,
    access: 'operator',
    body: { schema: resendRequest },
    responses: { 202: { about: 'The requests were written to the outbox.', json: resent } },
  }) as const satisfies Route;

export const historyPartRoute = <Service extends ServiceName>(service: Service) =>
  ({
    method: 'get',
    path: `/audit/${service}/history/:orderId`,
    summary: `Read what ${service} stores about the history of an order`,
    access: 'service',
    params: { orderId: idOf('order') },
    query: historyPartQuery,
    responses: { 200: { about: 'The items of this service.', json: historyPart } },
  }) as const satisfies Route;

/** The audit routes of each service. Those that send requests and wait for replies can resend them. */
export const auditRoutes = {
  order: {
    readOrderFacts: factsRoute('order'),
    readTicketOrderFacts: factsRoute('order/tickets'),
    readOrderMessages: messagesRoute('order'),
    readOrderHistory: historyPartRoute('order'),
    resendOrderRequests: resendRoute('order'),
  },
  points: {
    readPointsFacts: factsRoute('points'),
    readPointsMessages: messagesRoute('points'),
    readPointsHistory: historyPartRoute('points'),
  },
  coupon: {
    readCouponFacts: factsRoute('coupon'),
    readCouponMessages: messagesRoute('coupon'),
    readCouponHistory: historyPartRoute('coupon'),
  },
  notify: {
    readNotifyFacts: factsRoute('notify'),
    readNotifyMessages: messagesRoute('notify'),
    readNotifyHistory: historyPartRoute('notify'),
  },
  'flash-sale': {
    readFlashSaleFacts: factsRoute('flash-sale'),
    readTicketFacts: factsRoute('flash-sale/tickets'),
    readFlashSaleMessages: messagesRoute('flash-sale'),
    readFlashSaleHistory: historyPartRoute('flash-sale'),
    resendTicketRequests: resendRoute('flash-sale'),
  },
} as const satisfies Record<ServiceName, Record<string, Route>>;
