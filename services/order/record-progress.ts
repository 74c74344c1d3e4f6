// The results of the steps → the orders' progress. Results get no reply.
import type { Event, StepResult } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import { stepReport } from './order.ts';
import { recordSteps } from './store/orders.ts';

export const recordProgress: Handler<Event<StepResult>> = {
  handle: (tx, events) => recordSteps(tx, events.map(stepReport)),
};
