// The independent checker: what the promises say, judged from the clients' log and the databases alone, by SQL of its
// own. It shares no code with the program, so a fault of the program cannot hide in it.
//
//   I1  every firm order has exactly one points entry, one coupon decision and one stored notification, and is completed
//   I2  no effect without an order
//   I3  a retried Idempotency-Key is the same order; an answered order is there
//   I4, I5  flash sales: see sale-checker.ts
//   I6  nothing is unaccounted for: outboxes empty, nothing pending in an inbox; what is retrying or dead is listed
import type { BuyerLog } from './buyers.ts';
import { Findings } from './findings.ts';
import type { ClientLog } from './load.ts';
import { checkSales } from './sale-checker.ts';
import { openStored, type Reader, type Stored } from './stored.ts';

export interface FailedRow {
  readonly service: string;
  readonly id: string;
  readonly type: string | null;
  readonly status: 'retrying' | 'dead';
  readonly attempts: number;
  readonly error: string;
}

export interface Verdict {
  /** Orders that are stored. */
  readonly orders: number;
  /** Orders and tickets that were answered and are not there, that lack an effect, or that did not come to their end. */
  readonly lost: number;
  /** Orders beyond the first of a key or ticket, live tickets beyond the first of a user, effects beyond the first of an
   *  order. */
  readonly duplicated: number;
  /** What is broken, one sentence each: empty where every invariant holds. */
  readonly violations: readonly string[];
  readonly failed: readonly FailedRow[];
}

/** Their schemas are named after them. */
const SERVICES = ['order', 'points', 'coupon', 'notify', 'flash_sale'];
const WAITING = `status = 'pending' OR asked_again`;

/** `log` and `buyers` are everything that clients were answered. */
export async function checkInvariants(stored: Stored, log: ClientLog, buyers: BuyerLog = new Map()): Promise<Verdict> {
  const database = await openStored(stored);
  try {
    const orders = await database.query<OrderRow>(
      `SELECT o.id::text, o.user_id, o.total::text, o.idempotency_key AS key, p.status
       FROM sluice_order.orders o LEFT JOIN sluice_order.progress p ON p.order_id = o.id`,
    );
    const points = await database.query<EffectRow>(
      'SELECT order_id::text, user_id, points::text AS amount FROM sluice_points.entries',
    );
    const coupons = await database.query<EffectRow>(
      'SELECT order_id::text, user_id, amount::text FROM sluice_coupon.decisions',
    );
    const notifications = await database.query<EffectRow>(
      'SELECT order_id::text, user_id, NULL AS amount FROM sluice_notify.notifications',
    );
    const findings = new Findings();
    checkKeys(findings, orders, log);
    for (const { id, status } of orders) if (status !== 'completed') findings.lost('I1: not completed', id);
    checkEffects(findings, 'points entry', orders, points, ({ total }) => Math.floor(Number(total) / 100));
    checkEffects(findings, 'coupon decision', orders, coupons, ({ total }) =>
      // 5 % from 50.00 on
      Number(total) >= 5_000 ? Math.floor(Number(total) * 0.05) : null,
    );
    checkEffects(findings, 'notification', orders, notifications, () => null);
    await checkSales(findings, database, buyers);
    for (const service of SERVICES) await checkMessaging(findings, database, service);
    return { orders: orders.length, ...findings.verdict(), failed: await failedRows(database) };
  } finally {
    await database.close();
  }
}

/**
 * Whether there is nothing left to do: every stored order completed, every ticket at its end, outboxes empty, nothing
 * pending in an inbox.
 */
export async function isDrained(databaseUrl: string): Promise<boolean> {
  const database = await openStored({ databaseUrl });
  try {
    const left = SERVICES.map(
      (service) => `(SELECT count(*) FROM sluice_${service}.outbox)
        + (SELECT count(*) FROM sluice_${service}.inbox WHERE ${WAITING} OR status = 'retrying')`,
    );
    const [row] = await database.query<{ rest: number }>(
      `SELECT ((SELECT count(*) FROM sluice_order.progress WHERE status <> 'completed')
         + (SELECT count(*) FROM sluice_flash_sale.tickets WHERE closed_at IS NULL) + ${left.join(' + ')})::int AS rest`,
    );
    return row?.rest === 0;
  } finally {
    await database.close();
  }
}

interface OrderRow {
  readonly id: string;
  readonly user_id: string;
  readonly total: string;
  readonly key: string | null;
  readonly status: string | null;
}

interface EffectRow {
  readonly order_id: string;
  readonly user_id: string;
  readonly amount: string | null;
}

/** I3. An unknown outcome may be an order or none, but never two. */
function checkKeys(findings: Findings, orders: readonly OrderRow[], log: ClientLog): void {
  const stored = new Set(orders.map(({ id }) => id));
  const byKey = new Map<string, OrderRow>();
  for (const order of orders) {
    if (order.key === null) continue;
    if (byKey.has(order.key)) findings.duplicated('I3: two orders under one key', order.key);
    byKey.set(order.key, order);
  }
  for (const { key, total, answers } of log.values()) {
    const answered = new Set(answers.flatMap(({ orderId }) => orderId ?? []));
    const created = answers.filter(({ status }) => status === 201).length;
    if (answered.size === 0) findings.broken('I3: never answered', key);
    if (answered.size > 1) findings.duplicated('I3: one key, several orders answered', key);
    if (created > 1) findings.duplicated('I3: one key, several times 201', key);
    for (const id of answered) if (!stored.has(id)) findings.lost('I3: answered and not stored', id);
    const order = byKey.get(key);
    if (order && answered.size > 0 && !answered.has(order.id)) findings.broken('I3: another order was answered', key);
    if (order && Number(order.total) !== total) findings.broken('I3: another total is stored', key);
  }
}

/** I1 and I2 for one kind of effect; `expected` is what an order of that total earns. */
function checkEffects(
  findings: Findings,
  kind: string,
  orders: readonly OrderRow[],
  effects: readonly EffectRow[],
  expected: (order: OrderRow) => number | null,
): void {
  const byOrder = new Map(orders.map((order) => [order.id, order]));
  const seen = new Set<string>();
  for (const { order_id, user_id, amount } of effects) {
    const order = byOrder.get(order_id);
    if (!order) findings.broken(`I2: a ${kind} without an order`, order_id);
    if (seen.has(order_id)) findings.duplicated(`I1: a second ${kind}`, order_id);
    seen.add(order_id);
    if (order && order.user_id !== user_id) findings.broken(`I1: a ${kind} of another user`, order_id);
    if (order && (amount === null ? null : Number(amount)) !== expected(order))
      findings.broken(`I1: a ${kind} of a wrong amount`, order_id);
  }
  for (const { id } of orders) if (!seen.has(id)) findings.lost(`I1: no ${kind}`, id);
}

/** I6 */
async function checkMessaging(findings: Findings, database: Reader, service: string): Promise<void> {
  const outbox = await database.query<{ name: string }>(
    `SELECT type || ' ' || subject AS name FROM sluice_${service}.outbox`,
  );
  for (const { name } of outbox) findings.broken(`I6: left in the outbox of ${service}`, name);
  const inbox = await database.query<{ name: string }>(
    `SELECT coalesce(type, 'unknown') || ' ' || message_id AS name FROM sluice_${service}.inbox WHERE ${WAITING}`,
  );
  for (const { name } of inbox) findings.broken(`I6: left in the inbox of ${service}`, name);
}

async function failedRows(database: Reader): Promise<FailedRow[]> {
  const selects = SERVICES.map(
    (service) =>
      `SELECT '${service}' AS service, message_id::text AS id, type, status, attempts, error
       FROM sluice_${service}.inbox WHERE status IN ('retrying', 'dead')`,
  );
  return database.query<FailedRow>(selects.join(' UNION ALL '));
}
