// Reads every ticket that a buyer was told of, once, when the sale is over.
import { setTimeout as sleep } from 'node:timers/promises';
import type { FlashSale, TicketStatus } from '../../contracts/flash-sales.ts';
import { concurrently } from '../shared/concurrently.ts';
import { CliError } from '../shared/errors.ts';
import { readTicket } from '../shared/flash-sales.ts';
import type { HttpClient } from '../shared/http.ts';
import { readOrder } from '../shared/orders.ts';
import type { Plan } from './arrivals.ts';
import type { TicketSeen } from './counters.ts';

/** Tickets that are read at a time. */
export const READERS = 16;

export interface CheckedTicket extends TicketSeen {
  readonly userId: string;
  /** Undefined: the ticket could not be read. */
  readonly status: TicketStatus | undefined;
  readonly orderId: string | undefined;
  /** The user of the order. */
  readonly orderedBy: string | undefined;
  /** When its order was accepted, after the opening, by the database's clock; undefined: no order was found. */
  readonly orderedMs: number | undefined;
}

/** Reads each ticket, and the order that it became. */
export async function checkTickets(
  { http, sale, signal }: { http: HttpClient; sale: FlashSale; signal: AbortSignal },
  tickets: ReadonlyMap<string, TicketSeen>,
  buyers: Plan['buyers'],
  onChecked: (done: number) => void,
): Promise<CheckedTicket[]> {
  const checked: CheckedTicket[] = [];
  const opensAt = Date.parse(sale.opensAt);
  await concurrently(tickets.values(), READERS, signal, async (seen, either) => {
    const ticket = await patiently(() => readTicket(http, sale.id, seen.ticketId, either), either);
    const orderId = ticket?.orderId;
    const order = orderId === undefined ? undefined : await patiently(() => readOrder(http, orderId, either), either);
    checked.push({
      ...seen,
      userId: buyers[seen.buyer]?.userId ?? '',
      status: ticket?.status,
      orderId,
      orderedBy: order?.userId,
      orderedMs: order && Date.parse(order.createdAt) - opensAt,
    });
    onChecked(checked.length);
  });
  return checked;
}

const PAUSE_MS = 500;

/** Undefined if all attempts fail; the equations find that. */
async function patiently<T>(read: () => Promise<T>, signal: AbortSignal, attempts = 5): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    if (attempts === 1) return undefined;
    await sleep(PAUSE_MS, undefined, { signal });
    return patiently(read, signal, attempts - 1);
  }
}
