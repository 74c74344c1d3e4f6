import { type Event, stepFailed } from '../../contracts/events.ts';
import { SUBJECT_NAME, type Subscribed } from '../../contracts/services.ts';
import { reportDead } from '../../infra/messaging/handler.ts';
import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import { stepLatency } from '../../infra/runtime/step-latency.ts';
import { awardPoints } from './award-points.ts';
import { revokePoints } from './revoke-points.ts';
import { pointsRoutes } from './routes.ts';
import type { PointsSettings } from './settings.ts';
import { pointsFacts } from './store/facts.ts';

type Context = ServiceContext<PointsSettings>;

export function pointsService({ settings, database, outbox }: Context): Service<Event<Subscribed<'points'>>> {
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    handlers: {
      'order.placed': {
        ...awardPoints(outbox, settings.POINTS_PER_MAJOR_UNIT),
        ...stepLatency(settings.STEP_LATENCY_MS),
      },
      'order.cancelled': revokePoints(outbox, settings.POINTS_PER_MAJOR_UNIT),
    },
    onDead: reportDead(outbox, 'step.failed', stepFailed('points')),
    subjectName: SUBJECT_NAME,
    routes: (router) => pointsRoutes(router, database),
    facts: { points: pointsFacts },
  };
}
