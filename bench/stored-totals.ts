// What the databases hold after a run: the proof that what was counted as completed really is.

export interface StoredTotals {
  readonly orders: number;
  readonly completed: number;
  readonly points: number;
  readonly coupons: number;
  readonly notifications: number;
  /** Events and notifications that have not left yet, and messages that failed. */
  readonly outbox: number;
  readonly failed: number;
  /** How often order.placed was resent: a run that needs that does not keep up. */
  readonly resends: number;
  /** The database's durability, as it was measured. */
  readonly settings: Readonly<Record<string, string>>;
}

const services = ['order', 'points', 'coupon', 'notify'];
const sumOf = (table: string, condition = 'true') =>
  services.map((service) => `(SELECT count(*) FROM sluice_${service}.${table} WHERE ${condition})`).join(' + ');

const COUNTS = `SELECT
  (SELECT count(*) FROM sluice_order.orders) AS orders,
  (SELECT count(*) FROM sluice_order.progress WHERE status = 'completed') AS completed,
  (SELECT count(*) FROM sluice_points.entries WHERE kind = 'award') AS points,
  (SELECT count(*) FROM sluice_coupon.decisions) AS coupons,
  (SELECT count(*) FROM sluice_notify.notifications WHERE kind = 'order.placed') AS notifications,
  ${sumOf('outbox')} AS outbox,
  ${sumOf('inbox', "status IN ('retrying', 'dead')")} AS failed,
  (SELECT COALESCE(sum(resends), 0) FROM sluice_order.progress) AS resends`;

const SETTINGS = `SELECT name, setting FROM pg_settings
  WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'server_version') ORDER BY name`;

/** Asks the database directly, whoever serves it. int8 comes as text or as bigint: it depends on the driver. */
export type Query = (sql: string, params?: unknown[]) => Promise<Record<string, unknown>[]>;

/** The database's durability, as it says itself. */
export const readSettings = async (query: Query): Promise<Record<string, string>> =>
  Object.fromEntries((await query(SETTINGS)).map(({ name, setting }) => [String(name), String(setting)]));

export async function readTotals(query: Query): Promise<StoredTotals> {
  const [counts = {}] = await query(COUNTS);
  const settings = await readSettings(query);
  const count = (name: string) => Number(counts[name]);
  return {
    orders: count('orders'),
    completed: count('completed'),
    points: count('points'),
    coupons: count('coupons'),
    notifications: count('notifications'),
    outbox: count('outbox'),
    failed: count('failed'),
    resends: count('resends'),
    settings,
  };
}

/** Throws where a promise was broken while it was measured: then no rate counts. */
export function assertComplete(totals: StoredTotals, accepted: number): void {
  const { orders, completed, points, coupons, notifications, outbox, failed } = totals;
  const effects = [orders, completed, points, coupons, notifications];
  if (effects.every((count) => count === accepted) && outbox === 0 && failed === 0) return;
  throw new Error(`${accepted} orders were accepted, and the databases hold ${JSON.stringify(totals)}`);
}
