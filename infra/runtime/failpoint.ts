// Places where a test may kill the process as kill -9 would: FAILPOINT=name. They mark the moments between two durable
// steps, where a crash must cost nothing but time. Services list their own in their settings.

export const messagingFailpoints = [
  'outbox.before-publish', // committed, not yet published
  'outbox.before-delete', // published and confirmed, not yet deleted
  'inbox.before-transaction', // received, nothing done
  'inbox.after-commit', // done, not yet acknowledged
] as const;

/** Ends the process with SIGKILL if FAILPOINT names this place. */
export function failpoint(name: string): void {
  if (process.env.FAILPOINT === name) process.kill(process.pid, 'SIGKILL');
}
