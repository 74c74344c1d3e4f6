// Checks what the databases hold after the floods against what the buyers were told.
import type { Flooded } from '../flood.ts';
import { ADMITTED, FULL, OVER } from '../load.ts';
import { BROKEN } from '../raw-http.ts';
import { type Query, readCounts } from '../stored-totals.ts';

const COUNTS = `SELECT s.stock, s.remaining, s.held, s.sold, s.queued, s.queue_cap, s.admitted, s.released,
    COALESCE(r.queue_full, 0) AS queue_full, COALESCE(r.sold_out + r.not_open, 0) AS over, t.*
  FROM sluice_flash_sale.sales s
  LEFT JOIN sluice_flash_sale.rejections r ON r.sale_id = s.id
  CROSS JOIN (
    SELECT count(*) AS tickets, count(DISTINCT t.user_id) AS users,
      count(*) FILTER (WHERE t.status = 'queued') AS waiting,
      count(*) FILTER (WHERE t.status = 'ordered') AS ordered,
      count(*) FILTER (WHERE t.status = 'ordered' AND o.id IS NOT NULL) AS orders,
      count(*) FILTER (WHERE t.accepted_at >= to_timestamp($2::float8 / 1000)
        AND t.accepted_at < to_timestamp($3::float8 / 1000)) AS drained
    FROM sluice_flash_sale.tickets t LEFT JOIN sluice_order.orders o ON o.ticket_id = t.id
    WHERE t.sale_id = $1
  ) AS t
  WHERE s.id = $1`;

/** Whole seconds of the measured time; a second without a ticket has no row. */
const EACH_SECOND = `SELECT floor(extract(epoch FROM accepted_at) - $2::float8 / 1000)::int AS second,
    count(*) AS drained
  FROM sluice_flash_sale.tickets
  WHERE sale_id = $1 AND accepted_at >= to_timestamp($2::float8 / 1000)
    AND accepted_at < to_timestamp($3::float8 / 1000)
  GROUP BY second`;

/**
 * Throws if the totals do not balance, or if a response to a buyer was wrong. `ordered`: every ticket has had
 * time to become an order.
 */
export async function checkSale(
  query: Query,
  { saleId, responses, time, ordered }: Pick<Flooded, 'responses' | 'time'> & { saleId: string; ordered: boolean },
) {
  const counts = await readCounts(query, COUNTS, [saleId, ...time]);
  const n = (name: string) => counts[name] ?? Number.NaN;
  const told = responses[ADMITTED] ?? 0;
  const balanced =
    n('remaining') + n('held') + n('sold') === n('stock') &&
    n('held') + n('sold') + n('released') === n('admitted') &&
    n('queued') === n('waiting') &&
    n('queued') <= n('queue_cap');
  // A buyer whose connection broke was told nothing.
  const most = told + (responses[BROKEN] ?? 0);
  const asTold =
    n('admitted') >= told && n('admitted') <= most && n('tickets') === n('admitted') && n('users') === n('admitted');
  const complete =
    n('orders') === n('ordered') && n('sold') === n('ordered') && (!ordered || n('ordered') === n('admitted'));
  if (!balanced || !asTold || !complete)
    throw new Error(`${told} buyers were told they are admitted, but the database holds ${JSON.stringify(counts)}`);
  const drained: number[] = new Array(Math.floor((time[1] - time[0]) / 1_000)).fill(0);
  for (const row of await query(EACH_SECOND, [saleId, ...time]))
    if (Number(row.second) < drained.length) drained[Number(row.second)] = Number(row.drained);
  return {
    drainedEachSecond: drained,
    /** Tickets that left the queue in the measured time. */
    drainedPerSecond: n('drained') / ((time[1] - time[0]) / 1_000),
    /** Rejections that the sale did not count. It counts them best-effort: 0 unless a process crashed. */
    uncounted: Math.max(0, (responses[FULL] ?? 0) + (responses[OVER] ?? 0) - n('queue_full') - n('over')),
  };
}
