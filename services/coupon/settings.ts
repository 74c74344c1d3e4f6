// The coupon service's part of the configuration.
import { integer, type SettingsOf, variable } from '../../infra/runtime/settings.ts';
import { stepLatencySettings } from '../../infra/runtime/step-latency.ts';

export const couponSettings = {
  ...stepLatencySettings,
  COUPON_PERCENT: variable(integer(0, 100), '5', 'Coupon in percent of the total, rounded down.'),
  COUPON_MIN_MAJOR_UNITS: variable(integer(0, 1_000_000_000), '50', 'Least total, in major units, that earns one.'),
  COUPON_VALID_DAYS: variable(integer(1, 3_650), '30', 'Days until a coupon expires.'),
};
export type CouponSettings = SettingsOf<typeof couponSettings>;
