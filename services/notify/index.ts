import type { Service, ServiceContext } from '../service.ts';
import { stepLatency } from '../step-latency.ts';
import { notifyUser } from './notify-user.ts';
import { notifyRoutes } from './routes.ts';

export function notifyService({ config, database, outbox }: ServiceContext): Service<'notify'> {
  return {
    migrations: new URL('./migrations/', import.meta.url),
    step: 'notification',
    handlers: {
      'order.placed': { ...notifyUser(outbox), ...stepLatency(config.STEP_LATENCY_MS) },
    },
    routes: (router) => notifyRoutes(router, database),
  };
}
