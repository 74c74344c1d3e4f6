// Where a ticket stands. Those who ask at the same time share a walk along their sale's queue.
import type { Ticket } from '../../contracts/flash-sales.ts';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import type { Database } from '../../infra/database/port.ts';
import { groupBy } from '../../infra/runtime/group-by.ts';
import { findTickets } from './store/sales.ts';

const MAX_BATCH = 500;
const MAX_WAITING = 5_000;

export type ReadTicket = (saleId: string, ticketId: string) => Promise<Ticket | undefined>;

/** Undefined where there is no such ticket. Rejects with DatabaseUnavailable or Overloaded. */
export function createReadTicket(database: Database): ReadTicket {
  const reads = new GroupCommit<{ readonly saleId: string; readonly ticketId: string }, Ticket | undefined>({
    run: async (batch) => {
      const found = new Map<string, Map<string, Ticket>>();
      for (const [saleId, wanted] of groupBy(batch, ({ saleId }) => saleId)) {
        const ids = wanted.map(({ ticketId }) => ticketId);
        found.set(saleId, await findTickets(database, saleId, ids));
      }
      return batch.map(({ saleId, ticketId }) => found.get(saleId)?.get(ticketId));
    },
    key: ({ saleId }) => saleId,
    maxBatch: MAX_BATCH,
    maxWaiting: MAX_WAITING,
  });
  return (saleId, ticketId) => reads.submit({ saleId, ticketId });
}
