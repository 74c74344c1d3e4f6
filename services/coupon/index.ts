import { type Event, stepFailed } from '../../contracts/events.ts';
import { SUBJECT_NAME, type Subscribed } from '../../contracts/services.ts';
import { reportDead } from '../../infra/messaging/handler.ts';
import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import { stepLatency } from '../../infra/runtime/step-latency.ts';
import { decideCoupon } from './decide-coupon.ts';
import { revokeCoupon } from './revoke-coupon.ts';
import { couponRoutes } from './routes.ts';
import type { CouponSettings } from './settings.ts';
import { couponFacts } from './store/facts.ts';

type Context = ServiceContext<CouponSettings>;

export function couponService({ settings, database, outbox }: Context): Service<Event<Subscribed<'coupon'>>> {
  const rules = { percent: settings.COUPON_PERCENT, minMajorUnits: settings.COUPON_MIN_MAJOR_UNITS };
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    handlers: {
      'order.placed': {
        ...decideCoupon(outbox, rules, settings.COUPON_VALID_DAYS),
        ...stepLatency(settings.STEP_LATENCY_MS),
      },
      'order.cancelled': revokeCoupon(outbox, rules, settings.COUPON_VALID_DAYS),
    },
    onDead: reportDead(outbox, 'step.failed', stepFailed('coupon')),
    subjectName: SUBJECT_NAME,
    routes: (router) => couponRoutes(router, database),
    facts: { coupon: couponFacts },
  };
}
