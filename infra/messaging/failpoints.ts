// Points between two durable steps, where a test can kill the process.
import { failpointOf } from '../runtime/failpoint.ts';

export const messagingFailpoints = [
  'outbox.before-publish', // the row is committed, its event is not published
  'outbox.before-delete', // the event is published and confirmed, its row is not deleted
  'inbox.before-transaction', // the message is received, nothing else
  'inbox.after-commit', // the effects are committed, the message is not acknowledged
] as const;

export const failpoint = failpointOf(messagingFailpoints);
