// The independent checker of flash sales, with its own SQL: the totals, the cap, and the responses that buyers got.
//
//   I4  stock = remaining + held + sold, none negative, all equal to the counts of tickets; at most one live ticket per user
//   I5  the queued tickets never exceeded the cap
//   every 202 is a ticket that is ordered, or released because its order was cancelled; every ordered ticket has exactly
//   one order, and every order of a sale has its ticket
import type { BuyerLog } from './buyers.ts';
import type { Findings } from './findings.ts';
import { JOURNAL } from './sale-journal.ts';
import type { Reader } from './stored.ts';

interface SaleRow {
  readonly id: string;
  readonly unit_price: number;
  readonly stock: number;
  readonly remaining: number;
  readonly held: number;
  readonly sold: number;
  readonly queue_cap: number;
  readonly queued: number;
  readonly admitted: number;
  readonly released: number;
}

interface TicketRow {
  readonly id: string;
  readonly sale_id: string;
  readonly number: number;
  readonly user_id: string;
  readonly status: 'queued' | 'accepted' | 'awaiting-payment' | 'ordered' | 'released' | 'failed';
  readonly order_id: string | null;
}

interface OrderRow {
  readonly id: string;
  readonly ticket_id: string;
  readonly user_id: string;
  readonly total: number;
  readonly cancelled: boolean;
}

export async function checkSales(findings: Findings, database: Reader, buyers: BuyerLog): Promise<void> {
  const sales = await database.query<SaleRow>(
    `SELECT id::text, unit_price::int, stock::int, remaining::int, held::int, sold::int, queue_cap, queued,
       admitted::int, released::int FROM sluice_flash_sale.sales`,
  );
  const tickets = await database.query<TicketRow>(
    `SELECT id::text, sale_id::text, number::int, user_id, status, order_id::text FROM sluice_flash_sale.tickets`,
  );
  const orders = await database.query<OrderRow>(
    `SELECT id::text, ticket_id::text, user_id, total::int, state = 'cancelled' AS cancelled
     FROM sluice_order.orders JOIN sluice_order.progress ON order_id = id WHERE ticket_id IS NOT NULL`,
  );
  for (const sale of sales) {
    checkTotals(
      findings,
      sale,
      tickets.filter(({ sale_id }) => sale_id === sale.id),
    );
  }
  checkOrders(findings, sales, tickets, orders);
  checkAnswers(findings, tickets, orders, buyers);
  await checkCap(findings, database, sales, buyers);
}

const isLive = ({ status }: TicketRow) => status !== 'released' && status !== 'failed';

/** I4 */
function checkTotals(findings: Findings, sale: SaleRow, tickets: readonly TicketRow[]): void {
  const { id, stock, remaining, held, sold } = sale;
  if (remaining + held + sold !== stock)
    findings.broken('I4: stock is not remaining + held + sold', `${id}: ${stock} = ${remaining} + ${held} + ${sold}`);
  for (const [name, units] of Object.entries({ remaining, held, sold, queued: sale.queued }))
    if (units < 0) findings.broken(`I4: negative ${name}`, `${id}: ${units}`);
  const live = tickets.filter(isLive);
  if (live.length > stock) findings.broken('I4: oversold', `${id}: ${live.length} of ${stock}`);
  const ordered = live.filter(({ status }) => status === 'ordered').length;
  const counted = {
    held: live.length - ordered,
    sold: ordered,
    queued: live.filter(({ status }) => status === 'queued').length,
    released: tickets.length - live.length,
    admitted: tickets.length,
  };
  for (const [name, count] of Object.entries(counted) as [keyof typeof counted, number][])
    if (sale[name] !== count)
      findings.broken(`I4: ${name} differs from the tickets`, `${id}: ${sale[name]}, not ${count}`);
  const numbers = new Set(tickets.map(({ number }) => number));
  if (numbers.size !== tickets.length || Math.max(0, ...numbers) !== tickets.length)
    findings.broken('I4: tickets are not numbered without gaps', id);

  const holders = new Set<string>();
  for (const { user_id } of live) {
    if (holders.has(user_id)) findings.duplicated('I4: a second live ticket', user_id);
    holders.add(user_id);
  }
}

/** Exactly one order for each ordered ticket. */
function checkOrders(
  findings: Findings,
  sales: readonly SaleRow[],
  tickets: readonly TicketRow[],
  orders: readonly OrderRow[],
): void {
  const byId = new Map(tickets.map((ticket) => [ticket.id, ticket]));
  const prices = new Map(sales.map(({ id, unit_price }) => [id, unit_price]));
  const ordered = new Map<string, OrderRow>();
  for (const order of orders) {
    const ticket = byId.get(order.ticket_id);
    if (ordered.has(order.ticket_id)) findings.duplicated('I4: a second order of a ticket', order.ticket_id);
    ordered.set(order.ticket_id, order);
    if (!ticket) findings.broken('I2: an order without its ticket', order.id);
    else if (ticket.user_id !== order.user_id) findings.broken('I4: the order of another user', ticket.id);
    else if (prices.get(ticket.sale_id) !== order.total) findings.broken('I4: an order at another price', ticket.id);
    else if (ticket.order_id !== order.id) findings.broken('I4: the ticket names another order', ticket.id);
    else if (ticket.status !== (order.cancelled ? 'released' : 'ordered'))
      findings.broken(
        `I4: a ticket is ${ticket.status} although its order is ${order.cancelled ? '' : 'not '}cancelled`,
        ticket.id,
      );
  }
  for (const { id, status } of tickets) {
    if (status === 'ordered' && !ordered.has(id)) findings.lost('I4: an ordered ticket without an order', id);
    if (status === 'queued' || status === 'accepted' || status === 'awaiting-payment')
      findings.lost(`I4: left ${status}`, id);
  }
}

/** A request with an unknown outcome may have created one ticket or none, but not two. */
function checkAnswers(
  findings: Findings,
  tickets: readonly TicketRow[],
  orders: readonly OrderRow[],
  buyers: BuyerLog,
): void {
  const byId = new Map(tickets.map((ticket) => [ticket.id, ticket]));
  const cancelled = new Set(orders.filter((order) => order.cancelled).map(({ ticket_id }) => ticket_id));
  for (const { userId, saleId, answers } of buyers.values()) {
    const answered = new Set(answers.flatMap(({ ticketId }) => ticketId ?? []));
    if (answered.size > 1) findings.duplicated('I4: two tickets in the responses to one buyer', userId);
    if (answers.filter(({ status }) => status === 202).length > 1) findings.duplicated('I4: admitted twice', userId);
    if (!answers.some(({ status }) => status !== 'unknown' && status < 500))
      findings.broken('I4: a buyer without a decision', userId);
    for (const id of answered) {
      const ticket = byId.get(id);
      if (!ticket || ticket.user_id !== userId || ticket.sale_id !== saleId)
        findings.lost('I4: a ticket of a response does not exist', id);
      else if (ticket.status !== 'ordered' && !cancelled.has(id))
        findings.lost('I4: a ticket of a response is not ordered', id);
    }
  }
  for (const { id, user_id } of tickets)
    if (!buyers.has(user_id)) findings.broken('I4: a ticket without a request', id);
}

/** I5, by the tickets' times and by the journal if there is one; and the position in each response. */
async function checkCap(
  findings: Findings,
  database: Reader,
  sales: readonly SaleRow[],
  buyers: BuyerLog,
): Promise<void> {
  const caps = new Map(sales.map(({ id, queue_cap }) => [id, queue_cap]));
  const judge = (longest: readonly { readonly sale_id: string; readonly length: number }[], by: string) => {
    for (const { sale_id, length } of longest)
      if (length > (caps.get(sale_id) ?? 0))
        findings.broken(`I5: more than the cap, by the ${by}`, `${sale_id}: ${length} of ${caps.get(sale_id)}`);
  };
  // created_at is taken while the sale's row is locked, accepted_at before waiting for that lock. So every ticket that
  // had left the queue when another was admitted has an accepted_at before the other's created_at: this count is never
  // too high, and every excess is real.
  judge(
    await database.query(
      `SELECT sale_id::text, max(length)::int AS length FROM (
         SELECT sale_id, sum(change) OVER (PARTITION BY sale_id ORDER BY at, change ROWS UNBOUNDED PRECEDING) AS length
         FROM (
           SELECT sale_id, created_at AS at, 1 AS change FROM sluice_flash_sale.tickets
           UNION ALL
           SELECT sale_id, COALESCE(accepted_at, closed_at), -1 FROM sluice_flash_sale.tickets WHERE status <> 'queued'
         ) AS changes
       ) AS lengths GROUP BY sale_id`,
    ),
    "tickets' times",
  );

  const [there] = await database.query<{ journal: string | null }>(`SELECT to_regclass('${JOURNAL}')::text AS journal`);
  if (!there?.journal) return;
  const entries = await database.query<{ sale_id: string; ticket_id: string; change: number; length: number }>(
    `SELECT sale_id::text, ticket_id::text, change,
       (sum(change) OVER (PARTITION BY sale_id ORDER BY position ROWS UNBOUNDED PRECEDING))::int AS length
     FROM ${JOURNAL} ORDER BY position`,
  );
  const longest = new Map<string, number>();
  for (const { sale_id, length } of entries) longest.set(sale_id, Math.max(length, longest.get(sale_id) ?? 0));
  judge(
    [...longest].map(([sale_id, length]) => ({ sale_id, length })),
    'journal',
  );
  const lengthAt = new Map(entries.filter(({ change }) => change > 0).map((entry) => [entry.ticket_id, entry.length]));
  for (const { answers } of buyers.values())
    for (const { status, ticketId = '', position } of answers)
      if (status === 202 && position !== lengthAt.get(ticketId))
        findings.broken('I5: a wrong position', `${ticketId}: ${position}, not ${lengthAt.get(ticketId)}`);
}
