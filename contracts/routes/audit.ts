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
import type { ServiceName } from '../services.ts';
import type { Route } from './route.ts';

/** What `sluice audit` compares. `list`: its path below /audit/. */
export const factsRoute = (list: FactList) =>
  ({
    method: 'get',
    path: `/audit/${list}`,
    summary: `Read the facts of ${list}`,
    access: 'service',
    query: factsQuery,
    responses: { 200: { about: 'One fact for each id, in the order of the ids.', json: factsPage(factLists[list]) } },
  }) as const satisfies Route;

export const messagesRoute = (service: ServiceName) =>
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

export const resendRoute = (service: ServiceName) =>
  ({
    method: 'post',
    path: `/audit/${service}/resend`,
    summary: `Resend the last requests of ${service} about the ids`,
    access: 'operator',
    body: { schema: resendRequest },
    responses: { 202: { about: 'The requests were written to the outbox.', json: resent } },
  }) as const satisfies Route;

/** The services that send requests and wait for replies. */
export const resendingServices = ['order', 'flash-sale'] as const satisfies readonly ServiceName[];

/** The audit routes of a service. */
export const auditRoutes = (service: ServiceName): readonly Route[] => [
  ...(Object.keys(factLists) as FactList[])
    .filter((list) => list === service || list.startsWith(`${service}/`))
    .map(factsRoute),
  messagesRoute(service),
  ...(resendingServices.some((name) => name === service) ? [resendRoute(service)] : []),
];
