import { setTimeout as delay } from 'node:timers/promises';

/** Work that takes time, for demonstrations: STEP_LATENCY_MS, before the transaction, for all messages of a batch at once. */
export const stepLatency = (ms: number) => (ms === 0 ? {} : { prepare: () => delay(ms) });
