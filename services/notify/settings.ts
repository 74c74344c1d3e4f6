// The notify service's settings.
import type { SettingsOf } from '../../infra/runtime/settings.ts';
import { stepLatencySettings } from '../../infra/runtime/step-latency.ts';

export const notifySettings = stepLatencySettings;
export type NotifySettings = SettingsOf<typeof notifySettings>;
