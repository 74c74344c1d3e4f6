// The flash-sale service's part of the configuration.
import { askAgainSettings } from '../../infra/messaging/ask-again.ts';
import { watchdogSettings } from '../../infra/messaging/watchdog.ts';
import type { SettingsOf } from '../../infra/runtime/settings.ts';

export const flashSaleFailpoints = [
  'admission.before-commit', // requests gathered, nothing decided
  'admission.after-commit', // tickets committed, nobody told
  'ticket.before-accept', // its job has begun, nothing done
] as const;

export const flashSaleSettings = { ...askAgainSettings, ...watchdogSettings };
export type FlashSaleSettings = SettingsOf<typeof flashSaleSettings>;
