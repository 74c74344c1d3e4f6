// Whether a process has done all its work, by its own HTTP routes: no other process can open an embedded database.
import type { Order } from '../../../contracts/orders.ts';
import { serviceNames } from '../../../contracts/services.ts';
import { readTicket } from '../../service/support/flash-sales.ts';
import { readMetrics, readOrder } from '../../setup/api.ts';
import type { BuyerLog } from './buyers.ts';

/**
 * Whether the accepted orders and tickets are at their end and all outboxes are empty. The process runs all services.
 */
export async function isDone(url: string, orderIds: readonly string[], buyers: BuyerLog): Promise<boolean> {
  const outboxes = (await readMetrics(url)).split('\n').filter((line) => line.startsWith('sluice_outbox_rows{'));
  // An outbox of unknown size has no line.
  if (outboxes.length < 2 * serviceNames.length || !outboxes.every((line) => line.endsWith(' 0'))) return false;
  const ordered = [];
  for (const { saleId, answers } of buyers.values()) {
    const id = answers.find(({ ticketId }) => ticketId !== undefined)?.ticketId;
    if (id === undefined) continue;
    const { orderId } = await readTicket(url, saleId, id);
    if (orderId === undefined) return false;
    ordered.push(orderId);
  }
  for (const id of [...orderIds, ...ordered]) if (!isAtItsEnd(await readOrder(url, id))) return false;
  return true;
}

/** The status is `cancelled` from the beginning; the order is at its end once every step is reverted. */
function isAtItsEnd({ status, steps }: Order): boolean {
  if (status === 'completed') return true;
  return status === 'cancelled' && Object.values(steps).every((step) => step.status === 'reverted');
}
