// Mistakes in the workflow of an order: effects, steps, payment.
import type { Mutation } from './mutation.ts';

const EFFECTS = 'test/contract/effects.test.ts';

export const orderMutations: readonly Mutation[] = [
  {
    name: 'no-business-key',
    lesson:
      'The inbox is pruned after days. From then on, only a unique key on the effect keeps an old message from a second one.',
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
    tests: { files: [EFFECTS], pattern: '^points an order that comes again once the inbox has forgotten it' },
    failure: 'to deeply equal',
  },
  {
    name: 'step-moves-down',
    lesson: 'Results arrive in any order: a late one must not overwrite a later state.',
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
        file: 'services/order/store/orders.ts',
        find: "step_rank(step) DESC, step->>'at'",
        replace: 'step_rank(step)',
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
        find: 'const asked = await ask(SWEEP_LIMIT);',
        replace: 'const asked = 0;',
      },
    ],
    tests: { files: [EFFECTS], pattern: 'whose answers are overdue is asked for again' },
    failure: 'it is asked for again, twice',
  },
  {
    name: 'idempotency-key-ignored',
    lesson:
      'A client without a response can only repeat its request. Without the key, each repetition is another order.',
    changes: [
      {
        file: 'services/order/place-order.ts',
        find: 'newOrder(request, key, {',
        replace: 'newOrder(request, undefined, {',
      },
    ],
    tests: { files: [EFFECTS], pattern: 'the same key is the same order' },
    failure: '"replayed"',
  },
  {
    name: 'expired-while-paying',
    lesson: 'Until the provider responds, an order may be charged: an expiry in between would charge for nothing.',
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
    lesson: 'A charge without a response is repeated. Under another key the provider would charge again.',
    changes: [
      {
        file: 'services/order/pay-order.ts',
        find: 'provider.charge({ orderId, amount, currency })',
        replace: 'provider.charge({ orderId: crypto.randomUUID(), amount, currency })',
      },
    ],
    tests: { files: [EFFECTS], pattern: 'is charged once, though the answer to the first attempt is lost' },
    failure: 'to have a length of',
  },
  {
    name: 'late-placing-after-cancellation',
    lesson: 'order.cancelled may arrive before order.placed, which must then change nothing.',
    changes: [
      {
        file: 'services/points/revoke-points.ts',
        find: '(placed ? [awardFor({ ...order, ...placed }, perMajorUnit)] : [])',
        replace: '(placed ? [] : [])',
      },
    ],
    tests: { files: ['test/contract/cancellation.test.ts'], pattern: 'PostgreSQL.*points.*comes before it' },
    failure: 'to deeply equal',
  },
];
