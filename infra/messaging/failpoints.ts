import { failpointOf } from '../runtime/failpoint.ts';

export const messagingFailpoints = [
  'outbox.before-publish', // committed, not yet published
  'outbox.before-delete', // published and confirmed, not yet deleted
  'inbox.before-transaction', // received, nothing done
  'inbox.after-commit', // done, not yet acknowledged
] as const;

export const failpoint = failpointOf(messagingFailpoints);
