// The independent checker: judges the guarantees by the clients' log and the databases alone, with SQL of its own. It
// shares no code with the program, so it cannot share its mistakes.
//
//   I1  Every confirmed order is completed and has exactly one points entry, one coupon decision and one stored
//       notification. A cancelled order has its award revoked, no active coupon, and a notification of the cancellation.
//       An order that was never confirmed has nothing to reverse.
//   P   The payment provider has charged exactly the paid orders, and none of them expired. Every response to a payment
//       was true.
//   I2  No effect without an order.
//   I3  A repeated Idempotency-Key is the same order, and an accepted order is stored.
//   I4, I5  Flash sales: see sale-checker.ts.
//   I6  Every message is accounted for: outboxes are empty, no inbox has pending messages, and retrying or dead ones are
//       listed.
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
  /** Stored orders. */
  readonly orders: number;
  /** Accepted orders and tickets that are not stored, lack an effect, or are not at their end. */
  readonly lost: number;
  /** Second orders of a key or ticket, second live tickets of a user, and second effects of an order. */
  readonly duplicated: number;
  /** One sentence for each kind of violation. */
  readonly violations: readonly string[];
  readonly failed: readonly FailedRow[];
}

export interface Observed {
  /** Every response to clients. */
  readonly log?: ClientLog;
  readonly buyers?: BuyerLog;
  readonly holders?: HolderLog;
  /** The payment provider's entries. */
  readonly ledger?: readonly LedgerEntry[] | undefined;
}

/** As their schemas name them. */
const SERVICES = ['order', 'points', 'coupon', 'notify', 'flash_sale'];
const WAITING = `status = 'pending' OR reply_requested`;

export async function checkInvariants(
  stored: Stored,
  { log = new Map(), buyers = new Map(), holders = new Map(), ledger }: Observed,
): Promise<Verdict> {
  const database = await openStored(stored);
  try {
    const orders = await database.query<OrderRow>(
      `SELECT o.id::text, o.user_id, o.total::text, o.idempotency_key AS key, p.status, p.state = 'cancelled' AS cancelled,
         p.expires_at IS NULL OR p.paid_at IS NOT NULL AS was_confirmed, p.paid_at IS NOT NULL AS paid,
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
    const pointsOf: Expected = ({ total, cancelled, was_confirmed }) => {
      const earned = was_confirmed ? Math.floor(Number(total) / 100) : 0;
      return { ...(was_confirmed ? { award: earned } : {}), ...(cancelled ? { revoke: -earned } : {}) };
    };
    const couponOf: Expected = ({ total, cancelled, was_confirmed }) => {
      // 5 % from 50.00 on
      const amount = was_confirmed && Number(total) >= 5_000 ? Math.floor(Number(total) * 0.05) : null;
      return cancelled ? { revoked: amount } : { active: amount };
    };
    const notificationsOf: Expected = ({ cancelled, was_confirmed }) => ({
      ...(was_confirmed ? { 'order.placed': null } : {}),
      ...(cancelled ? { 'order.cancelled': null } : {}),
    });
    checkEffects(findings, orders, { name: 'points entry', rows: points, expected: pointsOf });
    checkEffects(findings, orders, { name: 'coupon decision', rows: coupons, expected: couponOf });
    checkEffects(findings, orders, { name: 'notification', rows: notifications, expected: notificationsOf });
    if (ledger) checkPayments(findings, orders, ledger);
    checkHolders(findings, orders, holders);
    await checkSales(findings, database, buyers);
    for (const service of SERVICES) await checkMessaging(findings, database, service);
    return { orders: orders.length, ...findings.verdict(), failed: await failedRows(database) };
  } finally {
    await database.close();
  }
}

/** Whether every order and ticket is at its end, every outbox empty, and no inbox has pending or retrying messages. */
export async function isDrained(databaseUrl: string): Promise<boolean> {
  const database = await openStored({ databaseUrl });
  try {
    const left = SERVICES.map(
      (service) => `(SELECT count(*) FROM sluice_${service}.outbox)
        + (SELECT count(*) FROM sluice_${service}.inbox WHERE ${WAITING} OR status = 'retrying')`,
    );
    const [row] = await database.query<{ rest: number }>(
      `SELECT ((SELECT count(*) FROM sluice_order.progress
           WHERE status NOT IN ('completed', 'cancelled') OR refund_at IS NOT NULL)
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
  readonly was_confirmed: boolean;
  readonly paid: boolean;
  readonly expired: boolean;
}

interface EffectRow {
  readonly order_id: string;
  readonly user_id: string;
  readonly kind: string;
  readonly amount: string | null;
}

/** I3. After an unknown outcome there may be one order or none, but never two. */
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

/** The effects that an order must have: the amount of each kind, and no other kind. */
type Expected = (order: OrderRow) => Readonly<Record<string, number | null>>;

/** I1 and I2 for one effect. */
function checkEffects(
  findings: Findings,
  orders: readonly OrderRow[],
  { name: effect, rows, expected }: { name: string; rows: readonly EffectRow[]; expected: Expected },
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
    if (charged && cancelled) findings.broken('P: charged, cancelled, and not refunded', id);
    if (paid && !cancelled && !charged) findings.broken('P: paid, and not charged', id);
  }
  for (const id of byOrder.keys()) findings.broken('P: charged without an order', id);
}

/** P, by the responses to buyers. After an unknown outcome the order may be paid or not. */
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
