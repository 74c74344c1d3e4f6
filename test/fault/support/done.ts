// Whether a process has done all its work, by its own HTTP routes: no other process can open an embedded database.
import { request } from 'undici';
import type { Order } from '../../../contracts/orders.ts';
import { serviceNames } from '../../../contracts/services.ts';
import type { BuyerLog } from './buyers.ts';

/**
 * Whether the accepted orders and tickets are at their end and all outboxes are empty. The process runs all services.
 */
export async function isDone(url: string, orderIds: readonly string[], buyers: BuyerLog): Promise<boolean> {
  const { body: metrics } = await request(`${url}/metrics`);
  const outboxes = (await metrics.text()).split('\n').filter((line) => line.startsWith('sluice_outbox_rows{'));
  // An outbox of unknown size has no line.
  if (outboxes.length < 2 * serviceNames.length || !outboxes.every((line) => line.endsWith(' 0'))) return false;
  const ordered = [];
  for (const { saleId, answers } of buyers.values()) {
    const id = answers.find(({ ticketId }) => ticketId !== undefined)?.ticketId;
    if (id === undefined) continue;
    const { orderId } = await read<{ orderId?: string }>(`${url}/flash-sales/${saleId}/purchases/${id}`);
    if (orderId === undefined) return false;
    ordered.push(orderId);
  }
  for (const id of [...orderIds, ...ordered])
    if (!isAtItsEnd(await read<Partial<Order>>(`${url}/orders/${id}`))) return false;
  return true;
}

/** The status is `cancelled` from the beginning; the order is at its end once every step is reverted. */
function isAtItsEnd({ status, steps }: Partial<Order>): boolean {
  if (status === 'completed') return true;
  return status === 'cancelled' && Object.values(steps ?? {}).every((step) => step.status === 'reverted');
}

async function read<T>(url: string): Promise<T> {
  const { body } = await request(url);
  return (await body.json()) as T;
}
