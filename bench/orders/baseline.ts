// The baseline for the measurements of orders: a bare Express route that echoes them.

import type { Baseline } from '../benchmark.ts';
import { ordersTo } from '../load.ts';

export const ordersBaseline: Baseline = {
  route: 'order',
  work: ordersTo,
  durations: { warmUp: 3, measured: 5 },
  minHeadroom: 3,
};
