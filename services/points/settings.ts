import { integer, type SettingsOf, variable } from '../../infra/runtime/settings.ts';
import { stepLatencySettings } from '../../infra/runtime/step-latency.ts';

export const pointsSettings = {
  ...stepLatencySettings,
  POINTS_PER_MAJOR_UNIT: variable(integer(0, 1_000), '1', 'Points for each whole major unit of the total.'),
};
export type PointsSettings = SettingsOf<typeof pointsSettings>;
