// Reads tickets. Requests that arrive together share one pass over the queue of their sale.
import type { Ticket } from '../../contracts/flash-sales.ts';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import type { Database } from '../../infra/database/port.ts';
import { groupBy } from '../../infra/runtime/collections.ts';
import { findTickets } from './store/sales.ts';

/** A ticket and its buyer. */
export interface FoundTicket {
  readonly userId: string;
  readonly ticket: Ticket;
}

export type ReadTicket = ReturnType<typeof createReadTicket>;

/**
 * The function resolves with undefined if the ticket does not exist; rejects with DatabaseUnavailable or Overloaded.
 */
export function createReadTicket(database: Database) {
  const reads = new GroupCommit<{ readonly saleId: string; readonly ticketId: string }, FoundTicket | undefined>({
    run: async (batch) => {
      const found = new Map<string, Map<string, FoundTicket>>();
      for (const [saleId, wanted] of groupBy(batch, ({ saleId }) => saleId)) {
        const ids = wanted.map(({ ticketId }) => ticketId);
        found.set(saleId, await findTickets(database, saleId, ids));
      }
      return batch.map(({ saleId, ticketId }) => found.get(saleId)?.get(ticketId));
    },
    key: ({ saleId }) => saleId,
    maxBatch: 500,
    maxWaiting: 5_000,
  });
  return (saleId: string, ticketId: string) => reads.submit({ saleId, ticketId });
}
