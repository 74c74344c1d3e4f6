import type { Service, ServiceContext } from '../service.ts';
import { stepLatency } from '../step-latency.ts';
import { notifyAudit } from './audit.ts';
import { notifyOfCancelling, notifyOfPlacing } from './notify-user.ts';
import { notifyRoutes } from './routes.ts';

export function notifyService({ config, database, outbox }: ServiceContext): Service<'notify'> {
  return {
    migrations: new URL('./migrations/', import.meta.url),
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
