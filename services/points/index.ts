import { type Event, stepFailed } from '../../contracts/events.ts';
import { pageOf, pageQuery } from '../../contracts/pages.ts';
import type { Subscribed } from '../../contracts/services.ts';
import { userId } from '../../contracts/text.ts';
import { parse, parsePath, route } from '../../infra/http/app.ts';
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
    routes: (router) =>
      route(router, '/users/:userId/points', {
        get: async (request, response) => {
          const user = parsePath(userId, request.params.userId, 'user');
          const { after, limit } = parse(pageQuery, request.query);
          const [balance, entries] = await Promise.all([
            readBalance(database, user),
            listEntries(database, user, after, limit + 1),
          ]);
          response.json({ balance, ...pageOf(entries, limit) });
        },
      }),
    facts: { points: pointsFacts },
    history: pointsHistory,
  };
}
