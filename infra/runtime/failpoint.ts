// Places where a test may kill the process as kill -9 would: FAILPOINT=name. They mark the moments between two durable
// steps, where a crash must cost nothing but time.

export const failpoints = [
  'outbox.before-publish', // committed, not yet published
  'outbox.before-delete', // published and confirmed, not yet deleted
  'inbox.before-transaction', // received, nothing done
  'inbox.after-commit', // done, not yet acknowledged
  'admission.before-commit', // requests gathered, nothing decided
  'admission.after-commit', // tickets committed, nobody told
  'ticket.before-accept', // its job has begun, nothing done
  'payment.before-charge', // the order is being paid, the provider was not asked
  'payment.after-charge', // charged, and nobody wrote it down
] as const;
export type Failpoint = (typeof failpoints)[number];

/** Ends the process with SIGKILL where FAILPOINT names this place. */
export function failpoint(name: Failpoint): void {
  if (process.env.FAILPOINT === name) process.kill(process.pid, 'SIGKILL');
}
