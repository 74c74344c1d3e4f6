// The flash-sale service's part of the configuration.
import { resendSettings } from '../../infra/messaging/resend.ts';
import { watchdogSettings } from '../../infra/messaging/watchdog.ts';
import type { SettingsOf } from '../../infra/runtime/settings.ts';

export const flashSaleSettings = { ...resendSettings, ...watchdogSettings };
export type FlashSaleSettings = SettingsOf<typeof flashSaleSettings>;
