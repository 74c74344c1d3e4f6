import type { Service, ServiceContext } from '../service.ts';
import { stepLatency } from '../step-latency.ts';
import { awardPoints } from './award-points.ts';
import { pointsRoutes } from './routes.ts';

export function pointsService({ config, database, outbox }: ServiceContext): Service<'points'> {
  return {
    migrations: new URL('./migrations/', import.meta.url),
    step: 'points',
    handlers: {
      'order.placed': { ...awardPoints(outbox, config.POINTS_PER_MAJOR_UNIT), ...stepLatency(config.STEP_LATENCY_MS) },
    },
    routes: (router) => pointsRoutes(router, database),
  };
}
