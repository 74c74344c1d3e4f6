// The flash-sale service's part of the configuration.
import { askAgainSettings } from '../../infra/messaging/ask-again.ts';
import { watchdogSettings } from '../../infra/messaging/watchdog.ts';
import type { SettingsOf } from '../../infra/runtime/settings.ts';

export const flashSaleSettings = { ...askAgainSettings, ...watchdogSettings };
export type FlashSaleSettings = SettingsOf<typeof flashSaleSettings>;
