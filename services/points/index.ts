import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import { stepLatency } from '../../infra/runtime/step-latency.ts';
import { awardPoints } from './award-points.ts';
import { revokePoints } from './revoke-points.ts';
import { pointsRoutes } from './routes.ts';
import { pointsAudit } from './store/facts.ts';

export function pointsService({ config, database, outbox }: ServiceContext): Service<'points'> {
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    step: 'points',
    handlers: {
      'order.placed': { ...awardPoints(outbox, config.POINTS_PER_MAJOR_UNIT), ...stepLatency(config.STEP_LATENCY_MS) },
      'order.cancelled': revokePoints(outbox, config.POINTS_PER_MAJOR_UNIT),
    },
    routes: (router) => {
      pointsRoutes(router, database);
      pointsAudit(router, database);
    },
  };
}
