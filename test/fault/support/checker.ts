// The independent checker: what the promises say, judged from the clients' log and the databases alone, by SQL of its
// own. It shares no code with the program, so a fault of the program cannot hide in it.
//
//   I1  every firm order has exactly one points entry, one coupon decision and one stored notification, and is completed;
//       a cancelled one has its award taken back, no active coupon and the notification of that; one that was cancelled
//       before it was firm has nothing to take back
//   P   what the payment provider has charged are the orders that are paid, and no others; none of them has expired; and
//       who was told that an order is paid, or that it is not, was told the truth
//   I2  no effect without an order
//   I3  a retried Idempotency-Key is the same order; an answered order is there
//   I4, I5  flash sales: see sale-checker.ts
//   I6  nothing is unaccounted for: outboxes empty, nothing pending in an inbox; what is retrying or dead is listed
import type { LedgerEntry } from '../../../contracts/payments.ts';
import type { BuyerLog } from './buyers.ts';
import { Findings } from './findings.ts';
import { type HolderLog, isUnknown } from './holders.ts';
import type { ClientLog } from './load.ts';
import { checkSales } from './sale-checker.ts';
import { openStored, type Reader, type Stored } from './stored.ts';

interface FailedRow {
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

/**
 * `log`, `buyers` and `holders` are everything that clients were answered; `ledger` everything that the payment provider
 * knows.
 */
export async function checkInvariants(
  stored: Stored,
  log: ClientLog,
  buyers: BuyerLog = new Map(),
  ledger?: readonly LedgerEntry[],
  holders: HolderLog = new Map(),
): Promise<Verdict> {
  const database = await openStored(stored);
  try {
    const orders = await database.query<OrderRow>(
      `SELECT o.id::text, o.user_id, o.total::text, o.idempotency_key AS key, p.status, p.state = 'cancelled' AS cancelled,
         p.expires_at IS NULL OR p.paid_at IS NOT NULL AS was_firm, p.paid_at IS NOT NULL AS paid,
         COALESCE(p.cancel_reason = 'not paid in time', false) AS expired
       FROM sluice_order.orders o LEFT JOIN sluice_order.progress p ON p.order_id = o.id`,
    );
    const points = await database.query<EffectRow>(
      'SELECT order_id::text, user_id, kind, points::text AS amount FROM sluice_points.entries',
    );
    const coupons = await database.query<EffectRow>(
      `SELECT order_id::text, user_id, CASE WHEN revoked_at IS NULL THEN 'active' ELSE 'revoked' END AS kind, amount::text
       FROM sluice_coupon.decisions`,
    );
    const notifications = await database.query<EffectRow>(
      'SELECT order_id::text, user_id, kind, NULL AS amount FROM sluice_notify.notifications',
    );
    const findings = new Findings();
    checkKeys(findings, orders, log);
    for (const { id, status, cancelled } of orders)
      if (status !== (cancelled ? 'cancelled' : 'completed')) findings.lost(`I1: left ${status}`, id);
    checkEffects(findings, 'points entry', orders, points, ({ total, cancelled, was_firm }) => {
      const earned = was_firm ? Math.floor(Number(total) / 100) : 0;
      return { ...(was_firm ? { award: earned } : {}), ...(cancelled ? { revoke: -earned } : {}) };
    });
    checkEffects(findings, 'coupon decision', orders, coupons, ({ total, cancelled, was_firm }) => {
      // 5 % from 50.00 on
      const amount = was_firm && Number(total) >= 5_000 ? Math.floor(Number(total) * 0.05) : null;
      return cancelled ? { revoked: amount } : { active: amount };
    });
    checkEffects(findings, 'notification', orders, notifications, ({ cancelled, was_firm }) => ({
      ...(was_firm ? { 'order.placed': null } : {}),
      ...(cancelled ? { 'order.cancelled': null } : {}),
    }));
    if (ledger) checkPayments(findings, orders, ledger);
    checkHolders(findings, orders, holders);
    await checkSales(findings, database, buyers);
    for (const service of SERVICES) await checkMessaging(findings, database, service);
    return { orders: orders.length, ...findings.verdict(), failed: await failedRows(database) };
  } finally {
    await database.close();
  }
}

/**
 * Whether there is nothing left to do: every stored order completed or cancelled, every ticket at its end, outboxes empty, nothing
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
      `SELECT ((SELECT count(*) FROM sluice_order.progress
           WHERE status NOT IN ('completed', 'cancelled') OR give_back_at IS NOT NULL)
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
  readonly cancelled: boolean;
  readonly was_firm: boolean;
  readonly paid: boolean;
  readonly expired: boolean;
}

interface EffectRow {
  readonly order_id: string;
  readonly user_id: string;
  readonly kind: string;
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
  for (const { key, total, answers, cancelled } of log.values()) {
    const answered = new Set(answers.flatMap(({ orderId }) => orderId ?? []));
    const created = answers.filter(({ status }) => status === 201).length;
    if (answered.size === 0) findings.broken('I3: never answered', key);
    if (answered.size > 1) findings.duplicated('I3: one key, several orders answered', key);
    if (created > 1) findings.duplicated('I3: one key, several times 201', key);
    for (const id of answered) if (!stored.has(id)) findings.lost('I3: answered and not stored', id);
    const order = byKey.get(key);
    if (order && answered.size > 0 && !answered.has(order.id)) findings.broken('I3: another order was answered', key);
    if (order && Number(order.total) !== total) findings.broken('I3: another total is stored', key);
    if (order && cancelled && !order.cancelled) findings.lost('I3: answered as cancelled, and it is not', key);
  }
}

/** I1 and I2 for one effect; `expected` is what an order must have of it: the amount of each kind, and no other kind. */
function checkEffects(
  findings: Findings,
  effect: string,
  orders: readonly OrderRow[],
  rows: readonly EffectRow[],
  expected: (order: OrderRow) => Readonly<Record<string, number | null>>,
): void {
  const byOrder = new Map<string, EffectRow[]>(orders.map(({ id }) => [id, []]));
  for (const row of rows) {
    const ofOrder = byOrder.get(row.order_id);
    if (!ofOrder) findings.broken(`I2: a ${effect} without an order`, row.order_id);
    else if (ofOrder.some(({ kind }) => kind === row.kind))
      findings.duplicated(`I1: a second ${effect} (${row.kind})`, row.order_id);
    else ofOrder.push(row);
  }
  for (const order of orders) {
    const found = byOrder.get(order.id) ?? [];
    const wanted = expected(order);
    for (const { user_id, kind, amount } of found) {
      if (user_id !== order.user_id) findings.broken(`I1: a ${effect} of another user`, order.id);
      if (!Object.hasOwn(wanted, kind)) findings.broken(`I1: a ${effect} that should not be (${kind})`, order.id);
      else if ((amount === null ? null : Number(amount)) !== wanted[kind])
        findings.broken(`I1: a ${effect} of a wrong amount`, order.id);
    }
    for (const kind of Object.keys(wanted))
      if (!found.some((row) => row.kind === kind)) findings.lost(`I1: no ${effect} (${kind})`, order.id);
  }
}

/** P */
function checkPayments(findings: Findings, orders: readonly OrderRow[], ledger: readonly LedgerEntry[]): void {
  const byOrder = new Map(ledger.map((entry) => [entry.orderId, entry]));
  if (byOrder.size !== ledger.length) findings.broken('P: two entries of one order', 'in the ledger');
  for (const { id, total, paid, cancelled, expired } of orders) {
    if (paid && expired) findings.broken('P: paid, and expired', id);
    const entry = byOrder.get(id);
    byOrder.delete(id);
    const charged = entry?.status === 'charged';
    if (charged && entry.amount !== Number(total)) findings.broken('P: another amount is charged', id);
    if (charged && !paid) findings.lost('P: charged, and not paid', id);
    if (charged && cancelled) findings.broken('P: charged, cancelled, and not given back', id);
    if (paid && !cancelled && !charged) findings.broken('P: paid, and not charged', id);
  }
  for (const id of byOrder.keys()) findings.broken('P: charged without an order', id);
}

/** P, as it was answered. An unknown outcome may be a payment or none. */
function checkHolders(findings: Findings, orders: readonly OrderRow[], holders: HolderLog): void {
  const byId = new Map(orders.map((order) => [order.id, order]));
  for (const { orderId, payments, cancelled } of holders.values()) {
    if (orderId === undefined) continue;
    const order = byId.get(orderId);
    if (!order) findings.lost('P: an order was answered and is not there', orderId);
    else {
      const toldPaid = payments.includes(200);
      if (toldPaid && !order.paid) findings.lost('P: answered as paid, and it is not', orderId);
      if (!toldPaid && order.paid && !payments.some(isUnknown))
        findings.broken('P: answered as not paid, and it is', orderId);
      if (cancelled && !order.cancelled) findings.lost('P: answered as cancelled, and it is not', orderId);
    }
  }
  const payers = new Set(
    [...holders.values()].flatMap(({ orderId, payments }) => (payments.length > 0 ? orderId : [])),
  );
  for (const { id, paid } of orders) if (paid && !payers.has(id)) findings.broken('P: paid by nobody', id);
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
