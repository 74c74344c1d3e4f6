// The history of an order (`sluice history`), and the routes at which processes read each other's parts of it.
import type { Request, Router } from 'express';
import { historyPartQuery } from '../../contracts/history.ts';
import { parse, parseId, route } from '../../infra/http/app.ts';
import { notFound } from '../../infra/http/problem.ts';
import type { HistoryCollector } from '../history/collector.ts';
import type { ServiceHistory } from '../history/service-history.ts';

/** In a process that serves the order service. */
export function historyRoutes(router: Router, collector: HistoryCollector): void {
  route(router, '/orders/:id/history', {
    get: async (request, response) => {
      response.json(await readHistory(collector, request));
    },
  });
}

/** For the process that serves the order service, if that is another one. */
export function historyPartRoutes(router: Router, history: ServiceHistory): void {
  route(router, `/audit/${history.name}/history/:orderId`, {
    get: async (request, response) => {
      response.json(await readPart(history, request));
    },
  });
}

async function readHistory(collector: HistoryCollector, { params }: Request) {
  const history = await collector.read(parseId(params.id, 'order'));
  if (!history) throw notFound('order');
  return history;
}

function readPart(history: ServiceHistory, { params, query }: Request) {
  const { ticketId, eventIds = [] } = parse(historyPartQuery, query);
  return history.read({ orderId: parseId(params.orderId, 'order'), ticketId, eventIds });
}
