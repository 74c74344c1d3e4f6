// The history of an order without servers: the parts of services in one order of time, and the table in a terminal.
import { describe, expect, test } from 'vitest';
import { mergeParts } from '../../app/history/merge.ts';
import { renderHistory } from '../../cli/history/render.ts';
import { type HistoryItem, type HistoryPart, MAX_HISTORY_ITEMS, type OrderHistory } from '../../contracts/history.ts';
import type { ServiceName } from '../../contracts/services.ts';

const at = (micros: number) => `2026-11-28T12:00:00.${String(micros).padStart(6, '0')}Z`;
const [PLACED, AWARDED] = ['0199c2b0-0000-7000-8000-000000000001', '0199c2b0-0000-7000-8000-000000000002'];

type Told = Omit<HistoryItem, 'service'>;
const part = (service: ServiceName, items: readonly Told[], changes: Partial<HistoryPart> = {}) =>
  [
    service,
    { items: items.map((item) => ({ service, ...item })), truncated: false, keptSince: at(0), ...changes },
  ] as const;
const merge = (...parts: (readonly [ServiceName, HistoryPart])[]) => mergeParts(new Map(parts));
const shown = ({ items }: Pick<OrderHistory, 'items'>) =>
  items.map(({ service, kind, type }) => [service, kind, type].filter(Boolean).join(' '));

const accepted: Told = { at: at(1_000), kind: 'accepted', detail: 'over HTTP' };
const placed: Told = { at: at(1_000), kind: 'written', eventId: PLACED, type: 'order.placed' };
const received: Told = { at: at(5_000), kind: 'received', eventId: PLACED, type: 'order.placed' };
const retried: Told = { ...received, at: at(6_000), kind: 'retried', attempt: 1, durationMs: 1, detail: 'no ledger' };
const handled: Told = { ...received, at: at(9_500), kind: 'handled', attempt: 2, durationMs: 4 };
const awarded: Told = { at: at(9_500), kind: 'written', eventId: AWARDED, type: 'points.awarded', detail: '59 points' };
const back: Told = { at: at(9_900), kind: 'received', eventId: AWARDED, type: 'points.awarded' };

describe('the merged history', () => {
  test('is in the order of time, a cause before its effects, with the publication of each event', () => {
    const step: Told = { at: at(9_000), kind: 'step', detail: 'points done: 59 points' };
    const order = part('order', [step, { ...back, kind: 'handled', attempt: 1 }, back, placed, accepted]);
    const points = part('points', [awarded, handled, received, retried]);
    expect(shown(merge(points, order))).toEqual([
      'order accepted',
      'order written order.placed',
      'order published order.placed',
      'points received order.placed',
      'points retried order.placed',
      'points handled order.placed',
      'points written points.awarded',
      'points published points.awarded',
      'order received points.awarded',
      'order handled points.awarded',
      'order step',
    ]);
  });

  test('has a cause before its effects although all have the same time, as on the embedded database', () => {
    const now = at(1_000);
    const atOnce = (items: readonly Told[]) => items.map((item) => ({ ...item, at: now }));
    const { durationMs: _, ...done } = handled;
    const order = part('order', atOnce([{ ...back, kind: 'handled', attempt: 1 }, back, placed, accepted]));
    expect(shown(merge(part('points', atOnce([awarded, done, received])), order))).toEqual([
      'order accepted',
      'order written order.placed',
      'order published order.placed',
      'points received order.placed',
      'points handled order.placed',
      'points written points.awarded',
      'points published points.awarded',
      'order received points.awarded',
      'order handled points.awarded',
    ]);
  });

  test('shows an event that waits in the outbox, but not one whose row is only not deleted yet', () => {
    const waiting: Told = { at: at(1_000), kind: 'waiting', eventId: PLACED, type: 'order.placed' };
    expect(shown(merge(part('order', [placed, waiting])))).toEqual([
      'order written order.placed',
      'order waiting order.placed',
    ]);
    expect(shown(merge(part('order', [placed, waiting]), part('points', [received])))).not.toContain(
      'order waiting order.placed',
    );
    // It waits again, because it is resent.
    const resent = { ...waiting, at: at(8_000) };
    expect(shown(merge(part('order', [placed, resent]), part('points', [received]))).at(-1)).toBe(
      'order waiting order.placed',
    );
  });

  test('says of an event that has left the outbox, and that no service has received, that it is published', () => {
    const { items } = merge(part('order', [placed]));
    expect(items.at(-1)).toMatchObject({
      kind: 'published',
      at: placed.at,
      detail: expect.stringContaining('no service'),
    });
  });

  test('keeps the newest items', () => {
    const many = Array.from({ length: MAX_HISTORY_ITEMS }, (_, index) => ({ ...retried, at: at(10_000 + index) }));
    const merged = merge(part('order', [accepted]), part('points', many));
    expect(merged.items.length).toBe(MAX_HISTORY_ITEMS);
    expect(merged.truncated).toBe(true);
    expect(shown(merged)).not.toContain('order accepted');
    expect(merge(part('order', [accepted])).truncated).toBe(false);
    expect(merge(part('order', [accepted], { truncated: true })).truncated).toBe(true);
  });

  test('names the services that were sent an event of which nothing is stored any more', () => {
    const keptSince = at(2_000);
    const order = part('order', [accepted, placed], { keptSince });
    const prunedOf = (...parts: (readonly [ServiceName, HistoryPart])[]) => merge(order, ...parts).pruned;
    expect(prunedOf(part('points', [awarded], { keptSince }))).toEqual([{ service: 'points', before: keptSince }]);
    expect(prunedOf(part('points', [received, handled], { keptSince }))).toEqual([]);
    expect(prunedOf(part('points', [], { keptSince: at(0) }))).toEqual([]);
    // The order service does not receive order.placed.
    expect(prunedOf()).toEqual([]);
  });
});

describe('the table', () => {
  const history: OrderHistory = {
    orderId: '0199c2b0-0000-7000-8000-00000000000a',
    ...merge(
      part('order', [accepted, placed, back, { ...back, kind: 'handled', attempt: 1 }]),
      part('points', [received, { ...retried, detail: `no ledger\u001b[31m ${'word '.repeat(80)}` }, handled, awarded]),
    ),
    truncated: true,
    missing: [{ service: 'coupon', reason: 'http://127.0.0.1:3002: connect ECONNREFUSED 127.0.0.1:3002' }],
    pruned: [{ service: 'notify', before: '2026-11-20T12:00:00.000000Z' }],
  };

  test('fits on 80 columns, and has the milliseconds since the first line', () => {
    const lines = renderHistory(history, 80);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.join('\n')).not.toContain('\u001b[31m');
    expect(lines).toContain('12:00:00.001   0  order    accepted over HTTP');
    expect(lines).toContain('12:00:00.009   8  points   handled order.placed in attempt 2 after 4 ms');
    expect(lines).toContain('12:00:00.009   8  order    received and handled points.awarded');
    expect(lines.slice(-3)).toEqual([
      'only the newest 10 items are shown',
      'missing: coupon: http://127.0.0.1:3002: connect ECONNREFUSED 127.0.0.1:3002',
      'pruned: notify: messages before 2026-11-20 12:00Z are no longer stored',
    ]);
  });

  test('shows an item of a kind that it does not know', () => {
    const items: HistoryItem[] = [{ at: at(1), service: 'order', kind: 'archived', detail: 'to tape' }];
    expect(renderHistory({ ...history, items }, 80).join('\n')).toContain('archived a message: to tape');
  });
});
