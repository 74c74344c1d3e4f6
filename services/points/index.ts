import { type Event, stepFailed } from '../../contracts/events.ts';
import { pageOf } from '../../contracts/pages.ts';
import { pointsRoutes } from '../../contracts/routes/users.ts';
import type { Subscribed } from '../../contracts/services.ts';
import { reply } from '../../infra/http/api.ts';
import { reportDead } from '../../infra/messaging/outbox.ts';
import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import { stepLatency } from '../../infra/runtime/step-latency.ts';
import { awardPoints, revokePoints } from './points.ts';
import type { PointsSettings } from './settings.ts';
import { listEntries, pointsFacts, pointsHistory, readBalance } from './store/entries.ts';

type Context = ServiceContext<PointsSettings>;

export function pointsService({ settings, database, outbox }: Context): Service<Event<Subscribed<'points'>>> {
  const { POINTS_PER_MAJOR_UNIT: perMajorUnit, STEP_LATENCY_MS } = settings;
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    handlers: {
      'order.placed': { ...awardPoints(outbox, perMajorUnit), ...stepLatency(STEP_LATENCY_MS) },
      'order.cancelled': revokePoints(outbox, perMajorUnit),
    },
    onDead: reportDead(outbox, 'step.failed', stepFailed('points')),
    routes: (api) =>
      api.handle(pointsRoutes.listPoints, async ({ params: { userId }, query: { after, limit } }) => {
        const [balance, entries] = await Promise.all([
          readBalance(database, userId),
          listEntries(database, userId, after, limit + 1),
        ]);
        return reply(200, { balance, ...pageOf(entries, limit) });
      }),
    facts: { points: pointsFacts },
    history: pointsHistory,
  };
}
