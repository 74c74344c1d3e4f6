import { type Event, stepFailed } from '../../contracts/events.ts';
import { pageOf, pageQuery } from '../../contracts/pages.ts';
import type { Subscribed } from '../../contracts/services.ts';
import { userId } from '../../contracts/text.ts';
import { parse, parsePath, route } from '../../infra/http/app.ts';
import { reportDead } from '../../infra/messaging/outbox.ts';
import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import type { SettingsOf } from '../../infra/runtime/settings.ts';
import { stepLatency, type stepLatencySettings } from '../../infra/runtime/step-latency.ts';
import { notifyOfCancelling, notifyOfPlacing } from './notify.ts';
import { listNotifications, notifyFacts, notifyHistory } from './store/notifications.ts';

type Context = ServiceContext<SettingsOf<typeof stepLatencySettings>>;

export function notifyService({ settings, database, outbox }: Context): Service<Event<Subscribed<'notify'>>> {
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    handlers: {
      'order.placed': { ...notifyOfPlacing(outbox), ...stepLatency(settings.STEP_LATENCY_MS) },
      'order.cancelled': notifyOfCancelling(outbox),
    },
    onDead: reportDead(outbox, 'step.failed', stepFailed('notification')),
    routes: (router) =>
      route(router, '/users/:userId/notifications', {
        get: async (request, response) => {
          const user = parsePath(userId, request.params.userId, 'user');
          const { after, limit } = parse(pageQuery, request.query);
          response.json(pageOf(await listNotifications(database, user, after, limit + 1), limit));
        },
      }),
    facts: { notify: notifyFacts },
    history: notifyHistory,
  };
}
