// The work of a ticket's job: the ticket leaves the queue, and the order service is told to place its order. Jobs that
// run at the same time share a transaction.
import { v7 as uuidv7 } from 'uuid';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import type { ServiceContext } from '../../infra/runtime/service.ts';
import { failpoint } from './failpoints.ts';
import { dequeue } from './store/queue.ts';
import { ACCEPT_TICKETS, failTicket } from './store/tickets.ts';

/** Tickets in one transaction, and jobs that may wait for one. A job beyond that fails, and is retried. */
const MAX_BATCH = 200;
const MAX_WAITING = 20_000;
/**
 * The job queue's limiter starts the jobs of one slot within a few milliseconds, and the orders cost as much for one
 * ticket as for twenty.
 */
const WAIT_MS = 25;

type Options = Pick<ServiceContext<unknown>, 'database' | 'outbox' | 'log'> & { readonly resendAfterMs: number };

export type TicketAcceptance = ReturnType<typeof createTicketAcceptance>;

export function createTicketAcceptance({ database, outbox, resendAfterMs, log }: Options) {
  const commits = new GroupCommit<string, undefined>({
    run: async (ticketIds) => {
      failpoint('ticket.before-accept');
      const jobs = ticketIds.map((ticketId) => ({ ticketId, eventId: uuidv7() }));
      await outbox.write(database, ACCEPT_TICKETS, jobs, resendAfterMs);
      return ticketIds.map(() => undefined);
    },
    key: (ticketId) => ticketId,
    waitMs: WAIT_MS,
    maxBatch: MAX_BATCH,
    maxWaiting: MAX_WAITING,
  });
  return {
    /** Does nothing for a ticket that is not queued. Rejects with DatabaseUnavailable. */
    accept: (ticketId: string): Promise<void> => commits.submit(ticketId),
    /**
     * Called when a ticket's job has failed at every attempt. If the database would raise the error again (SQLSTATE
     * classes 22 and 23), the ticket fails and its unit returns to the sale; otherwise the ticket stays queued and needs
     * a new job. Rejects with DatabaseUnavailable.
     */
    onFailed: async (ticketId: string, error: Error): Promise<void> => {
      const code = 'code' in error ? String(error.code) : '';
      if (/^2[23]/.test(code)) {
        await failTicket(database, ticketId, error.message.slice(0, 1000));
        log.error({ ticket: ticketId, error: error.message }, 'ticket failed, its unit is back in the sale');
      } else await dequeue(database, [ticketId]);
    },
  };
}
