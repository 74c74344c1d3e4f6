import type { DeadMessage, OnDead } from './handler.ts';
import type { Outbox } from './outbox.ts';

/** Reports each dead message with an event of this type, whose data says which message and why. */
export const reportDead =
  (outbox: Outbox, type: string, data: (dead: DeadMessage) => object): OnDead =>
  (tx, dead) =>
    outbox.writeEvents(
      tx,
      'bus',
      dead.map((message) => ({
        id: message.reportId,
        type,
        subject: message.subject,
        time: message.at,
        data: data(message),
      })),
    );
