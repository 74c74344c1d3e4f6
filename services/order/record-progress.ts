// The results of the steps, and what they mean for the orders. Nothing is answered to a result.
import type { Event, StepResult } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import { stepReport } from './order.ts';
import { recordSteps } from './store/orders.ts';

export const recordProgress: Handler<Event<StepResult>> = {
  handle: (tx, events) => recordSteps(tx, events.map(stepReport)),
};
