import { integer, type SettingsOf, variable } from '../../infra/runtime/settings.ts';
import { stepLatencySettings } from '../../infra/runtime/step-latency.ts';

export const couponSettings = {
  ...stepLatencySettings,
  COUPON_PERCENT: variable(integer(0, 100), '5', 'Coupon in percent of the total, rounded down.'),
  COUPON_MIN_MAJOR_UNITS: variable(
    integer(0, 1_000_000_000),
    '50',
    'Smallest total, in major units, that earns a coupon.',
  ),
  COUPON_VALID_DAYS: variable(integer(1, 3_650), '30', 'Days until a coupon expires.'),
};
export type CouponSettings = SettingsOf<typeof couponSettings>;
