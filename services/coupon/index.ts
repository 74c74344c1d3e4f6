import { type Event, stepFailed } from '../../contracts/events.ts';
import { pageOf } from '../../contracts/pages.ts';
import { couponRoutes } from '../../contracts/routes/users.ts';
import type { Subscribed } from '../../contracts/services.ts';
import { reply } from '../../infra/http/api.ts';
import { reportDead } from '../../infra/messaging/outbox.ts';
import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import { stepLatency } from '../../infra/runtime/step-latency.ts';
import { decideCoupon, revokeCoupon } from './coupon.ts';
import type { CouponSettings } from './settings.ts';
import { couponFacts, listCoupons } from './store/coupons.ts';
import { couponHistory } from './store/history.ts';

type Context = ServiceContext<CouponSettings>;

export function couponService({ settings, database, outbox }: Context): Service<Event<Subscribed<'coupon'>>> {
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    handlers: {
      'order.placed': { ...decideCoupon(outbox, settings), ...stepLatency(settings.STEP_LATENCY_MS) },
      'order.cancelled': revokeCoupon(outbox, settings),
    },
    onDead: reportDead(outbox, 'step.failed', stepFailed('coupon')),
    routes: (api) =>
      api.handle(couponRoutes.listCoupons, async ({ params: { userId }, query: { after, limit } }) =>
        reply(200, pageOf(await listCoupons(database, userId, after, limit + 1), limit)),
      ),
    facts: { coupon: couponFacts },
    history: couponHistory,
  };
}
