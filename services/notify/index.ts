import { type Event, stepFailed } from '../../contracts/events.ts';
import { SUBJECT_NAME, type Subscribed } from '../../contracts/services.ts';
import { reportDead } from '../../infra/messaging/handler.ts';
import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import { stepLatency } from '../../infra/runtime/step-latency.ts';
import { notifyOfCancelling, notifyOfPlacing } from './notify-user.ts';
import { notifyRoutes } from './routes.ts';
import type { NotifySettings } from './settings.ts';
import { notifyFacts } from './store/facts.ts';

type Context = ServiceContext<NotifySettings>;

export function notifyService({ settings, database, outbox }: Context): Service<Event<Subscribed<'notify'>>> {
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    handlers: {
      'order.placed': { ...notifyOfPlacing(outbox), ...stepLatency(settings.STEP_LATENCY_MS) },
      'order.cancelled': notifyOfCancelling(outbox),
    },
    onDead: reportDead(outbox, 'step.failed', stepFailed('notification')),
    subjectName: SUBJECT_NAME,
    routes: (router) => notifyRoutes(router, database),
    facts: { notify: notifyFacts },
  };
}
