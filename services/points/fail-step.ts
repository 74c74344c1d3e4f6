// A dead message → step.failed, so that the order shows that its step waits for an operator.
import type { EventData } from '../../contracts/events.ts';
import type { OnDead } from '../../infra/messaging/handler.ts';
import { NEW_EVENTS, type Outbox } from '../../infra/messaging/outbox.ts';

export const failStep =
  (outbox: Outbox): OnDead =>
  (tx, dead) =>
    outbox.write(
      tx,
      NEW_EVENTS,
      dead.map(({ reportId, messageId, type, subject, failure, at }) => {
        const data: EventData<'step.failed'> = {
          orderId: subject,
          step: 'points',
          eventId: messageId,
          ...(type === null ? {} : { of: type }),
          error: failure,
        };
        return { id: reportId, type: 'step.failed', subject, time: at, data };
      }),
    );
