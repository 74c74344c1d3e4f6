// The history of an order (`sluice history`), and the routes at which processes read each other's parts of it.
import { historyPartRoute } from '../../contracts/routes/audit.ts';
import { orderRoutes } from '../../contracts/routes/orders.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import { notFound } from '../../infra/http/problem.ts';
import type { HistoryCollector } from '../history/collector.ts';
import type { ServiceHistory } from '../history/service-history.ts';

/** In a process that serves the order service. */
export function serveHistory(api: Api, collector: HistoryCollector): void {
  api.handle(orderRoutes.readHistory, async ({ params: { id } }) => {
    const history = await collector.read(id);
    if (!history) throw notFound('order');
    return reply(200, history);
  });
}

/** For the process that serves the order service, if that is another one. */
export function serveHistoryPart(api: Api, history: ServiceHistory): void {
  api.handle(historyPartRoute(history.name), async ({ params: { orderId }, query: { ticketId, eventIds = [] } }) =>
    reply(200, await history.read({ orderId, ticketId, eventIds })),
  );
}
