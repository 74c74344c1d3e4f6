// Simulated work, so that demonstrations and tests have slow consumers.
import { setTimeout as delay } from 'node:timers/promises';
import { integer, variable } from './settings.ts';

export const stepLatencySettings = {
  STEP_LATENCY_MS: variable(
    integer(0, 60_000),
    '0',
    'Simulated work in the points, coupon and notify services, for demonstrations.',
  ),
};

/** Waits STEP_LATENCY_MS before the transaction, for all messages of a batch at once. */
export const stepLatency = (ms: number) => (ms === 0 ? {} : { prepare: () => delay(ms) });
