import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import { stepLatency } from '../../infra/runtime/step-latency.ts';
import { notifyOfCancelling, notifyOfPlacing } from './notify-user.ts';
import { notifyRoutes } from './routes.ts';
import { notifyAudit } from './store/facts.ts';

export function notifyService({ config, database, outbox }: ServiceContext): Service<'notify'> {
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    step: 'notification',
    handlers: {
      'order.placed': { ...notifyOfPlacing(outbox), ...stepLatency(config.STEP_LATENCY_MS) },
      'order.cancelled': notifyOfCancelling(outbox),
    },
    routes: (router) => {
      notifyRoutes(router, database);
      notifyAudit(router, database);
    },
  };
}
