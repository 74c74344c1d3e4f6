import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import { stepLatency } from '../../infra/runtime/step-latency.ts';
import { decideCoupon } from './decide-coupon.ts';
import { revokeCoupon } from './revoke-coupon.ts';
import { couponRoutes } from './routes.ts';
import { couponAudit } from './store/facts.ts';

export function couponService({ config, database, outbox }: ServiceContext): Service<'coupon'> {
  const rules = { percent: config.COUPON_PERCENT, minMajorUnits: config.COUPON_MIN_MAJOR_UNITS };
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    step: 'coupon',
    handlers: {
      'order.placed': {
        ...decideCoupon(outbox, rules, config.COUPON_VALID_DAYS),
        ...stepLatency(config.STEP_LATENCY_MS),
      },
      'order.cancelled': revokeCoupon(outbox, rules, config.COUPON_VALID_DAYS),
    },
    routes: (router) => {
      couponRoutes(router, database);
      couponAudit(router, database);
    },
  };
}
