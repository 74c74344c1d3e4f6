import { type Event, stepFailed } from '../../contracts/events.ts';
import { pageOf } from '../../contracts/pages.ts';
import { notifyRoutes } from '../../contracts/routes/users.ts';
import type { Subscribed } from '../../contracts/services.ts';
import { reply } from '../../infra/http/api.ts';
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
    routes: (api) =>
      api.handle(notifyRoutes.listNotifications, async ({ params: { userId }, query: { after, limit } }) =>
        reply(200, pageOf(await listNotifications(database, userId, after, limit + 1), limit)),
      ),
    facts: { notify: notifyFacts },
    history: notifyHistory,
  };
}
