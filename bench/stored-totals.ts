// The totals in the databases after a run: the proof that the completed orders really are complete.

const services = ['order', 'points', 'coupon', 'notify'];
const sumOf = (table: string, condition = 'true') =>
  services.map((service) => `(SELECT count(*) FROM sluice_${service}.${table} WHERE ${condition})`).join(' + ');

/** `resends`: how often order.placed was resent. A run that needs resends is not keeping up. */
const COUNTS = `SELECT
  (SELECT count(*) FROM sluice_order.orders) AS orders,
  (SELECT count(*) FROM sluice_order.progress WHERE status = 'completed') AS completed,
  (SELECT count(*) FROM sluice_points.entries WHERE kind = 'award') AS points,
  (SELECT count(*) FROM sluice_coupon.decisions) AS coupons,
  (SELECT count(*) FROM sluice_notify.notifications WHERE kind = 'order.placed') AS notifications,
  ${sumOf('outbox')} AS outbox,
  ${sumOf('inbox', "status IN ('retrying', 'dead')")} AS failed,
  (SELECT COALESCE(sum(resends), 0) FROM sluice_order.progress) AS resends`;

/** A query on either database. An int8 is text or a bigint, depending on the driver. */
export type Query = (sql: string, params?: unknown[]) => Promise<Record<string, unknown>[]>;

/** The only row, which holds nothing but numbers. */
export async function readCounts(query: Query, sql: string, params?: unknown[]): Promise<Record<string, number>> {
  const [row = {}] = await query(sql, params);
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Number(value)]));
}

/** Throws if a guarantee was violated during the run: then no rate counts. */
export async function readTotals(query: Query, accepted: number): Promise<Record<string, number>> {
  const counts = await readCounts(query, COUNTS);
  const perOrder = ['orders', 'completed', 'points', 'coupons', 'notifications'];
  if (!perOrder.every((name) => counts[name] === accepted) || counts.outbox !== 0 || counts.failed !== 0)
    throw new Error(`${accepted} orders were accepted, but the databases hold ${JSON.stringify(counts)}`);
  return counts;
}
