// The job of a ticket: it leaves the queue, and the order service is told to place its order. The jobs that run
// together share a transaction.
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import type { Database } from '../../infra/database/port.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { failpoint } from './failpoints.ts';
import { ACCEPT_TICKETS, failTicket, unfeed } from './store/tickets.ts';

/** Tickets in one transaction, and jobs that may wait for theirs: more than any queue runs at a time. */
const MAX_BATCH = 200;
const MAX_WAITING = 20_000;
/** The jobs of one window come some milliseconds apart, and what follows costs as much for one ticket as for twenty. */
const WAIT_MS = 25;

export interface AcceptTicketOptions {
  readonly database: Database;
  readonly outbox: Outbox;
  readonly resendAfterMs: number;
}

/** Does nothing for a ticket that is not queued. Rejects with DatabaseUnavailable. */
export function createAcceptTicket({ database, outbox, resendAfterMs }: AcceptTicketOptions) {
  const commits = new GroupCommit<string, void>({
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
  return (ticketId: string): Promise<void> => commits.submit(ticketId);
}

/**
 * All attempts at a ticket's job failed. What the database rejects (SQLSTATE classes 22 and 23) it will reject again, so
 * the ticket fails and its unit goes back. After anything else the ticket stays queued, and a new job is added for it.
 * Rejects with DatabaseUnavailable.
 */
export function createGiveUpTicket({ database, log }: { readonly database: Database; readonly log: Logger }) {
  return async (ticketId: string, error: Error): Promise<void> => {
    const code = 'code' in error ? String(error.code) : '';
    if (!/^2[23]/.test(code)) return unfeed(database, [ticketId]);
    await failTicket(database, ticketId, error.message.slice(0, 1000));
    log.error({ ticket: ticketId, error: error.message }, 'the ticket failed, its unit is free again');
  };
}
