import type { IncomingMessage } from 'node:http';
import type { Event } from '../../contracts/events.ts';
import { flashSaleRoutes } from '../../contracts/routes/flash-sales.ts';
import type { Subscribed } from '../../contracts/services.ts';
import { WarmUp } from '../../infra/http/warm-up.ts';
import { resendLoop, type resendSettings } from '../../infra/messaging/resend.ts';
import type { watchdogSettings } from '../../infra/messaging/watchdog.ts';
import type { PacedQueues } from '../../infra/queue/port.ts';
import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import type { SettingsOf } from '../../infra/runtime/settings.ts';
import { createTicketAcceptance } from './accept-ticket.ts';
import { Drain } from './drain.ts';
import { front } from './front.ts';
import { createDecisionCounter, saleGauges } from './metrics.ts';
import { OpeningTimer } from './opening-timer.ts';
import { createReadTicket } from './read-ticket.ts';
import { saleRoutes } from './routes.ts';
import { SaleAdmission } from './sale-admission.ts';
import { followOrders } from './settle-tickets.ts';
import { saleFacts, ticketFacts } from './store/facts.ts';
import { ticketHistory } from './store/history.ts';
import { msUntilOpening } from './store/sales.ts';
import { RESEND_BY_ID, RESEND_OVERDUE } from './store/tickets.ts';
import { warmUpPurchases } from './warm-up.ts';

/** The path of a purchase, in every form that the router accepts. */
const PURCHASES = new RegExp(`^${flashSaleRoutes.buy.path.replace(/:\w+/, '[^/?]+')}/?(?:\\?|$)`, 'i');

type Settings = SettingsOf<typeof resendSettings & typeof watchdogSettings>;
/** Without `queues`, this process does not drain; its tickets wait for one that does. */
type FlashSaleContext = ServiceContext<Settings> & { readonly queues: PacedQueues | undefined };

export function flashSaleService(context: FlashSaleContext): Service<Event<Subscribed<'flash-sale'>>> {
  const { settings, database, outbox, queues, metrics, log, wakeWorker } = context;
  const resendAfterMs = settings.RESEND_AFTER_MS;
  const drain =
    queues &&
    new Drain({
      database,
      queues,
      acceptance: createTicketAcceptance({ database, outbox, resendAfterMs, log }),
      stalledAfterMs: settings.WATCHDOG_MS,
      onRebuild: () => metrics.rebuilds.inc({ service: 'flash-sale' }),
      log,
    });
  const decisions = createDecisionCounter(metrics);
  const warmUp = new WarmUp(() => warmUpPurchases(log), log);
  const openings = new OpeningTimer({
    warmUp: () => warmUp.run(),
    readNext: (afterMs) => msUntilOpening(database.background, afterMs),
    polls: database.kind === 'postgres',
    log,
  });
  const admission = new SaleAdmission({
    database,
    onAdmitted: wakeWorker,
    onEarly: (opensInMs) => openings.expect(opensInMs),
    onDecision: (outcome, by) => decisions.inc({ outcome, by }),
    log,
  });
  const ticketOrders = followOrders(outbox, resendAfterMs);
  const readTicket = createReadTicket(database);
  const passedSnapshot = new WeakSet<IncomingMessage>();
  const onCreated = (opensAt: string | undefined) => {
    wakeWorker();
    if (opensAt === undefined) return;
    openings.expect(Date.parse(opensAt) - Date.now());
    openings.plan(); // by the database's clock, which may differ
  };
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    handlers: {
      'order.placed': ticketOrders,
      'order.cancelled': ticketOrders,
      'order.awaiting-payment': ticketOrders,
    },
    routes: (api) => saleRoutes(api, { database, admission, passedSnapshot, readTicket, onCreated }),
    front: front({ admission, passedSnapshot, readTicket, log }),
    warmUp: () => warmUp.run(),
    gauges: saleGauges(metrics),
    facts: { 'flash-sale': saleFacts, 'flash-sale/tickets': ticketFacts },
    history: ticketHistory({ resendAfterMs }),
    resend: RESEND_BY_ID,
    isSheddable: ({ method, url = '' }) => method === 'POST' && PURCHASES.test(url),
    loops: [...(drain ? [drain] : []), resendLoop(context, 'flash-sale.ticket.accepted', RESEND_OVERDUE)],
    webLoops: [admission, openings],
    wake: () => drain?.wake(),
  };
}
