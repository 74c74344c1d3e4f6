// Mutations of the workflow of an order: its effects, its steps, its payment.
import type { Mutation } from './mutation.ts';

const EFFECTS = 'test/contract/effects.test.ts';

export const orderMutations: readonly Mutation[] = [
  {
    name: 'no-business-key',
    lesson:
      'Inbox rows are pruned after days. Then only a key on the effect prevents a second effect of an old message.',
    changes: [
      {
        file: 'services/points/store/migrations/001_entries.sql',
        find: ',\n  CONSTRAINT one_entry_per_order_and_kind UNIQUE (order_id, kind)',
        replace: '',
      },
      {
        file: 'services/points/store/entries.ts',
        find: `(id uuid, "eventId" uuid, "orderId" uuid, "userId" text, points bigint)
  ORDER BY "orderId" -- two processes that write the same keys in opposite order deadlock
  ON CONFLICT (order_id, kind) DO NOTHING`,
        replace: '(id uuid, "eventId" uuid, "orderId" uuid, "userId" text, points bigint)',
      },
    ],
    tests: { files: [EFFECTS], pattern: '^points gives an order that arrives again after the inbox is pruned' },
    failure: 'to deeply equal',
  },
  {
    name: 'step-moves-down',
    lesson: 'Results arrive in any order: a late one must not undo a newer state.',
    changes: [
      {
        file: 'services/order/store/migrations/001_orders.sql',
        find: 'WHEN step_rank(reported) > step_rank(known) THEN reported',
        replace: 'WHEN reported IS NOT NULL THEN reported',
      },
    ],
    tests: { files: [EFFECTS], pattern: 'a step only moves up' },
    failure: "expected 'failed' to be 'done'",
  },
  {
    name: 'step-moves-down-in-a-batch',
    lesson: 'The same holds for two results about one order in one batch.',
    changes: [
      {
        file: 'services/order/order.ts',
        find: 'if (!known || isFurther(step, known)) steps',
        replace: 'steps',
      },
    ],
    tests: { files: [EFFECTS], pattern: 'the one that is further along counts' },
    failure: "expected 'failed' to be 'done'",
  },
  {
    name: 'resend-off',
    lesson: 'A broker may lose an event that it confirmed. Only a resend repairs that.',
    changes: [
      {
        file: 'infra/messaging/resend.ts',
        find: 'const resent = await outbox.write(database.background, overdue, resendAfterMs, limit);',
        replace: 'const resent: never[] = [];',
      },
    ],
    tests: { files: [EFFECTS], pattern: 'resends the same event while replies are overdue' },
    failure: 'the request is resent twice',
  },
  {
    name: 'idempotency-key-ignored',
    lesson: 'A client without a response can only retry. Without its idempotency key, each retry is another order.',
    changes: [
      {
        file: 'services/order/place-order.ts',
        find: 'newOrder(request, key, {',
        replace: 'newOrder(request, undefined, {',
      },
    ],
    tests: { files: [EFFECTS], pattern: 'the same idempotency key is the same order' },
    failure: '"replayed"',
  },
  {
    name: 'front-ignores-the-key',
    lesson: 'A fast path that misses one rule of the route breaks the guarantee that rests on it.',
    changes: [
      {
        file: 'services/order/front.ts',
        find: "request.headers['idempotency-key']",
        replace: 'undefined',
      },
    ],
    tests: { files: ['test/contract/order-front.test.ts'], pattern: 'in their usual form' },
    failure: 'expected [ 201, 201, 201 ] to deeply equal',
  },
  {
    name: 'expired-while-paying',
    lesson: 'Between a charge and its response an order may be paid: if it expires then, the buyer pays for nothing.',
    changes: [
      {
        file: 'services/order/store/orders.ts',
        find: "WHERE state = 'awaiting-payment' AND expires_at <= now()",
        replace: "WHERE state IN ('awaiting-payment', 'paying') AND expires_at <= now()",
      },
      {
        file: 'services/order/store/orders.ts',
        find: `  )\`,
    "'awaiting-payment'",`,
        replace: `  )\`,
    "'awaiting-payment', 'paying'",`,
      },
    ],
    tests: { files: [EFFECTS], pattern: 'does not expire while it is being paid' },
    failure: "expected 'cancelled' to be 'paying'",
  },
  {
    name: 'charge-with-a-fresh-key',
    lesson: 'A charge without a response is retried. Under another key the provider charges a second time.',
    changes: [
      {
        file: 'services/order/pay-order.ts',
        find: 'provider.charge({ orderId, amount, currency })',
        replace: 'provider.charge({ orderId: crypto.randomUUID(), amount, currency })',
      },
    ],
    tests: { files: [EFFECTS], pattern: 'is charged once if the response to the first attempt is lost' },
    failure: 'to have a length of',
  },
  {
    name: 'late-placing-after-cancellation',
    lesson:
      'order.cancelled may arrive before order.placed. It must leave rows that make the late event change nothing.',
    changes: [
      {
        file: 'services/points/points.ts',
        find: '(placed ? [awardFor({ ...order, ...placed }, perMajorUnit)] : [])',
        replace: '(placed ? [] : [])',
      },
    ],
    tests: { files: ['test/contract/cancellation.test.ts'], pattern: 'PostgreSQL.*points.*comes before the placing' },
    failure: 'to deeply equal',
  },
];
