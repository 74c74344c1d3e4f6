// How an audit judges facts: an order beside its effects, a ticket beside its order; how it joins streams and looks at
// candidates again.
import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { OrderFact, SaleFact, TicketFact, TicketOrderFact } from '../../contracts/facts.ts';
import type { Page } from '../../contracts/pages.ts';
import type { FactsClient } from '../../demos/shared/auditor/facts-client.ts';
import {
  judgeOrder,
  judgeSale,
  judgeTicket,
  MAX_DUE_MS,
  type OrderFacts,
  waitsFor,
} from '../../demos/shared/auditor/judge.ts';
import { MAX_NAMED, type RuleName, Violations, type Wrong } from '../../demos/shared/auditor/rules.ts';
import { settle } from '../../demos/shared/auditor/run.ts';
import { MAX_CANDIDATES, mergeJoin, Sweep } from '../../demos/shared/auditor/sweep.ts';

const id = randomUUID();
const userId = 'ann';
const steps = (status: OrderFact['steps']['points']) => ({ points: status, coupon: status, notification: status });

const confirmed: OrderFact = {
  id,
  userId,
  ticketId: null,
  state: 'confirmed',
  everConfirmed: true,
  open: false,
  stockReleasePending: false,
  refundDue: false,
  chargeRetries: 0,
  refundAttempts: 0,
  refundRejected: false,
  steps: steps('done'),
  sinceMs: 1_000,
  dueInMs: null,
};
const cancelled: OrderFact = { ...confirmed, state: 'cancelled', steps: steps('reverted') };
const neverConfirmed: OrderFact = { ...cancelled, everConfirmed: false };
const waits: OrderFact = {
  ...confirmed,
  state: 'awaiting-payment',
  everConfirmed: false,
  open: true,
  steps: steps('pending'),
  dueInMs: 5,
};
const open: OrderFact = { ...confirmed, open: true, steps: steps('pending'), dueInMs: 5 };

const complete: OrderFacts = {
  order: confirmed,
  points: { id, userId, awards: 1, revokes: 0, points: 59 },
  coupon: { id, userId, active: 1, revoked: 0, skipped: 0 },
  notify: { id, userId, placed: 1, cancelled: 0 },
};
const undone: OrderFacts = {
  order: cancelled,
  points: { ...complete.points, revokes: 1, points: 0 },
  coupon: { ...complete.coupon, active: 0, revoked: 1 },
  notify: { ...complete.notify, cancelled: 1 },
};
const neverBegun: OrderFacts = {
  order: neverConfirmed,
  points: { ...undone.points, awards: 0 },
  coupon: { ...complete.coupon, active: 0, skipped: 1 },
  notify: { ...undone.notify, placed: 0 },
};

describe('an order beside its effects', () => {
  test.each<[string, Partial<OrderFacts>]>([
    ['completed', complete],
    ['completed, without a coupon', { ...complete, coupon: { ...complete.coupon, active: 0, skipped: 1 } }],
    ['cancelled', undone],
    ['cancelled, without a coupon', { ...undone, coupon: { ...undone.coupon, revoked: 0, skipped: 1 } }],
    ['cancelled before it was confirmed', neverBegun],
    ['waiting for payment', { order: waits }],
    ['under way, no effect yet', { order: open }],
    ['under way, every effect there', { ...complete, order: open }],
    [
      'being cancelled, no effect undone yet',
      { ...complete, order: { ...cancelled, open: true, steps: steps('done'), dueInMs: 5 } },
    ],
    [
      'being cancelled, every effect undone',
      { ...undone, order: { ...cancelled, open: true, steps: steps('pending'), dueInMs: 5 } },
    ],
    ['nothing at all', {}],
  ])('is right: %s', (_, facts) => {
    expect(judgeOrder(facts)).toEqual([]);
  });

  test.each<[RuleName[], Partial<OrderFacts>]>([
    [['points-missing', 'coupon-missing', 'notification-missing'], { order: confirmed }],
    [['points-not-revoked'], { ...undone, points: { ...undone.points, revokes: 0, points: 59 } }],
    [['points-not-zero'], { ...undone, points: { ...undone.points, points: 1 } }],
    [['points-missing', 'points-not-zero'], { ...undone, points: { ...undone.points, awards: 0, points: -59 } }],
    [['points-doubled'], { ...complete, points: { ...complete.points, awards: 2 } }],
    [['points-doubled'], { ...complete, order: open, points: { ...complete.points, awards: 2 } }],
    [['points-revoked'], { ...complete, points: { ...complete.points, revokes: 1 } }],
    [['coupon-active'], { ...undone, coupon: complete.coupon }],
    [['coupon-doubled'], { ...complete, coupon: { ...complete.coupon, skipped: 1 } }],
    [['coupon-revoked'], { ...complete, coupon: { ...complete.coupon, active: 0, revoked: 1 } }],
    [['notification-doubled'], { ...complete, notify: { ...complete.notify, placed: 2 } }],
    [['notification-wrong'], { ...complete, notify: { ...complete.notify, cancelled: 1 } }],
    [['notification-missing'], { ...undone, notify: complete.notify }],
    [['effect-too-early'], { order: waits, points: complete.points }],
    [['effect-too-early'], { order: waits, coupon: { ...complete.coupon, active: 0, skipped: 1 } }],
    [['effect-too-early'], { ...neverBegun, points: { ...undone.points, awards: 1 } }],
    [['effect-too-early'], { order: waits, notify: complete.notify }],
    [['effect-other-user'], { ...complete, points: { ...complete.points, userId: 'bob' } }],
    [['step-wrong'], { ...complete, order: { ...confirmed, open: true, steps: steps('reverted'), dueInMs: 5 } }],
    [['order-without-progress'], { ...complete, order: { ...confirmed, state: null } }],
    [['order-unaccounted'], { ...complete, order: { ...open, dueInMs: null } }],
    [['order-unaccounted'], { order: { ...open, dueInMs: MAX_DUE_MS } }],
    [['points-without-order'], { points: complete.points }],
    [['coupon-without-order', 'notification-without-order'], { coupon: complete.coupon, notify: complete.notify }],
  ])('is wrong: %j', (rules, facts) => {
    expect(judgeOrder(facts)).toEqual(rules);
  });

  test('says what it waits for', () => {
    expect(waitsFor(waits)).toEqual(['payment']);
    expect(waitsFor({ ...open, steps: { ...steps('done'), coupon: 'failed' } })).toEqual(['coupon (failed)']);
    expect(
      waitsFor({ ...cancelled, stockReleasePending: true, steps: { ...steps('reverted'), points: 'done' } }),
    ).toEqual(['points', 'flash sale']);
    expect(waitsFor({ ...cancelled, steps: { ...steps('reverted'), points: 'failed' } })).toEqual(['points (failed)']);
    const paying: OrderFact = { ...waits, state: 'paying' };
    expect(waitsFor(paying)).toEqual(['the payment provider']);
    expect(waitsFor({ ...paying, chargeRetries: 3 })).toEqual(['the payment provider (attempt 4)']);
    const refund: OrderFact = { ...cancelled, refundDue: true, refundAttempts: 1 };
    expect(waitsFor(refund)).toEqual(['the refund']);
    expect(waitsFor({ ...refund, refundAttempts: 3 })).toEqual(['the refund (attempt 3)']);
    expect(waitsFor({ ...refund, refundAttempts: 7, refundRejected: true })).toEqual([
      'the refund (rejected by the provider, attempt 7)',
    ]);
  });
});

describe('a ticket beside its order', () => {
  const orderId = randomUUID();
  const sold: TicketFact = { id, userId, status: 'ordered', orderId, sinceMs: 1, dueInMs: null };
  const held: TicketFact = { ...sold, status: 'accepted', orderId: null, dueInMs: 5 };
  const placed: TicketOrderFact = { id, orders: 1, orderId, userId, state: 'confirmed', stockReleasePending: false };
  const over: TicketOrderFact = { ...placed, state: 'cancelled' };

  test.each<[string, { ticket?: TicketFact; order?: TicketOrderFact }]>([
    ['ordered', { ticket: sold, order: placed }],
    ['queued', { ticket: { ...held, status: 'queued', dueInMs: null } }],
    ['failed', { ticket: { ...held, status: 'failed', dueInMs: null } }],
    ['out of the queue', { ticket: held }],
    ['out of the queue, its order just placed', { ticket: held, order: placed }],
    [
      'waiting for payment',
      { ticket: { ...held, status: 'awaiting-payment', orderId }, order: { ...placed, state: 'paying' } },
    ],
    ['released', { ticket: { ...sold, status: 'released' }, order: over }],
    ['about to be released', { ticket: sold, order: { ...over, stockReleasePending: true } }],
  ])('is right: %s', (_, facts) => {
    expect(judgeTicket(facts)).toEqual([]);
  });

  test.each<[RuleName[], { ticket?: TicketFact; order?: TicketOrderFact }]>([
    [['order-without-ticket'], { order: placed }],
    [['ticket-without-order'], { ticket: sold }],
    [['ticket-other-order'], { ticket: { ...sold, orderId: randomUUID() }, order: placed }],
    [['ticket-orders-doubled'], { ticket: sold, order: { ...placed, orders: 2 } }],
    [['ticket-other-user'], { ticket: sold, order: { ...placed, userId: 'bob' } }],
    [['ticket-too-early'], { ticket: { ...held, status: 'queued' }, order: placed }],
    [['ticket-not-confirmed'], { ticket: sold, order: { ...placed, state: 'awaiting-payment' } }],
    [['stock-not-released'], { ticket: sold, order: over }],
    [['stock-not-released'], { ticket: held, order: over }],
    [['stock-released'], { ticket: { ...sold, status: 'released' }, order: placed }],
    [['ticket-unaccounted'], { ticket: { ...held, dueInMs: null } }],
  ])('is wrong: %j', (rules, facts) => {
    expect(judgeTicket(facts)).toEqual(rules);
  });
});

describe('the totals of a sale', () => {
  const totals = { queued: 1, held: 3, sold: 4, released: 2, admitted: 9 };
  const tickets = { ...totals, lastNumber: 9, doubled: 0, doubledUsers: [] };
  const sale: SaleFact = { id, stock: 10, remaining: 3, queueCap: 1, row: totals, tickets };

  test('are right if the row and the tickets agree', () => {
    expect(judgeSale(sale)).toEqual([]);
  });

  test.each<[RuleName, Partial<SaleFact>]>([
    ['sale-stock', { remaining: 4 }],
    ['sale-negative', { stock: 6, remaining: -1 }],
    ['sale-over-cap', { queueCap: 0 }],
    ['sale-totals', { tickets: { ...tickets, sold: 5 } }],
    ['sale-totals', { tickets: { ...tickets, lastNumber: 10 } }],
    ['ticket-doubled', { tickets: { ...tickets, doubled: 1, doubledUsers: ['ann'] } }],
  ])('are wrong: %s', (rule, change) => {
    expect(judgeSale({ ...sale, ...change }).map(([violated]) => violated)).toEqual([rule]);
  });
});

describe('a merge join', () => {
  /** Pages of two. */
  const pagesOf = (ids: readonly string[], asked: (string | undefined)[] = []) => {
    return async (after: string | undefined): Promise<Page<{ id: string }>> => {
      asked.push(after);
      const items = ids.filter((each) => after === undefined || each > after).slice(0, 2);
      return { items: items.map((each) => ({ id: each })), next: items.length < 2 ? null : (items.at(-1) ?? null) };
    };
  };
  const join = async (left: readonly string[], right: readonly string[]) => {
    const seen: string[] = [];
    await mergeJoin<{ left: { id: string }; right: { id: string } }>(
      { left: pagesOf(left), right: pagesOf(right) },
      (each, facts) => seen.push(`${each}${facts.left ? '<' : ''}${facts.right ? '>' : ''}`),
    );
    return seen;
  };

  test('visits each id once, in order, with the facts of every stream, across pages', async () => {
    expect(await join(['a', 'b', 'd', 'e', 'f'], ['b', 'c', 'd', 'g', 'h', 'i'])).toEqual([
      'a<',
      'b<>',
      'c>',
      'd<>',
      'e<',
      'f<',
      'g>',
      'h>',
      'i>',
    ]);
    expect(await join([], ['a'])).toEqual(['a>']);
    expect(await join([], [])).toEqual([]);
  });

  test('reads no further than one page ahead', async () => {
    const asked: (string | undefined)[] = [];
    await expect(
      mergeJoin<{ only: { id: string } }>({ only: pagesOf(['a', 'b', 'c', 'd', 'e', 'f', 'g'], asked) }, () => {
        throw new Error('enough');
      }),
    ).rejects.toThrow('enough');
    expect(asked).toEqual([undefined, 'b']);
  });

  test('rejects a stream that is out of order or repeats itself', async () => {
    const circle = async () => ({ items: [{ id: 'a' }, { id: 'b' }], next: 'b' });
    await expect(mergeJoin<{ only: { id: string } }>({ only: circle }, () => {})).rejects.toThrow(
      /only: a comes after b/,
    );
  });

  test('fails if a stream fails', async () => {
    const away = async () => Promise.reject(new Error('away'));
    await expect(mergeJoin<{ only: { id: string } }>({ only: away }, () => {})).rejects.toThrow('away');
  });
});

describe('a second look', () => {
  const signal = new AbortController().signal;
  const wrong = (...ids: string[]): Wrong => new Map(ids.map((each) => [each, ['points-missing']]));

  test('is repeated until nothing is wrong, each time only for the ids that were still wrong', async () => {
    const asked: (readonly string[])[] = [];
    const left = await settle(
      wrong('a', 'b'),
      async (ids) => {
        asked.push(ids);
        return asked.length === 1 ? wrong('b') : wrong();
      },
      { settleMs: 60_000, signal, onProgress: () => {} },
    );
    expect(left.size).toBe(0);
    expect(asked).toEqual([['a', 'b'], ['b']]);
  });

  test('ends with the ids that are still wrong when the time is over', async () => {
    const left = await settle(wrong('a', 'b'), async () => wrong('b'), { settleMs: 50, signal, onProgress: () => {} });
    expect([...left.keys()]).toEqual(['b']);
  });

  test('is a single look if there is no time to settle', async () => {
    let looks = 0;
    const look = async () => {
      looks++;
      return wrong('a');
    };
    await settle(wrong('a'), look, { settleMs: 0, signal, onProgress: () => {} });
    expect(looks).toBe(1);
  });
});

test('violations are counted in full, and named up to a limit', () => {
  const violations = new Violations();
  for (let n = 0; n < MAX_NAMED + 5; n++) violations.add('points-missing', String(n));
  expect(violations.list()).toEqual([
    {
      rule: 'points-missing',
      total: MAX_NAMED + 5,
      ids: Array.from({ length: MAX_NAMED }, (_, n) => String(n)),
      invariant: 'I1',
      text: 'no points entry',
      repairable: true,
    },
  ]);
});

test('a sweep collects candidates up to a limit; the others are violations at once', async () => {
  const idOf = (n: number) => String(n).padStart(6, '0');
  const points = Array.from({ length: MAX_CANDIDATES + 1 }, (_, n) => ({ ...complete.points, id: idOf(n) }));
  const pages = (list: string) => async () => ({ items: list === 'points' ? points : [], next: null });
  const sweep = new Sweep(0);
  await sweep.run({ pages } as unknown as FactsClient, () => {});
  expect(sweep.candidates.orders.size).toBe(MAX_CANDIDATES);
  expect(sweep.violations.list()).toMatchObject([
    { rule: 'points-without-order', total: 1, ids: [idOf(MAX_CANDIDATES)] },
  ]);
});
