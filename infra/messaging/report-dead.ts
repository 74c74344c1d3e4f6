import type { DeadMessage, OnDead } from './handler.ts';
import { NEW_EVENTS, type Outbox } from './outbox.ts';

/** Reports each dead message with an event of this type, whose data says which message and why. */
export const reportDead =
  (outbox: Outbox, type: string, data: (dead: DeadMessage) => object): OnDead =>
  (tx, dead) =>
    outbox.write(
      tx,
      NEW_EVENTS,
      dead.map((message) => ({
        id: message.reportId,
        type,
        subject: message.subject,
        time: message.at,
        data: data(message),
      })),
    );
