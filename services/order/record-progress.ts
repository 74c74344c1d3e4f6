// The results of the steps, and what they mean for the orders. Nothing is answered to a result.
import type { Subscribed } from '../../contracts/services.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import { reportedSteps } from './order.ts';
import { recordSteps } from './store.ts';

export const recordProgress: Handler<Subscribed<'order'>> = {
  handle: (tx, events) => recordSteps(tx, reportedSteps(events)),
};
