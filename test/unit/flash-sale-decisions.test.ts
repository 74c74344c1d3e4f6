// The decisions about a sale that no row has to take, and the filter that says whose row has to be asked.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FlashSaleStatus } from '../../contracts/flash-sales.ts';
import { retryAfterSeconds } from '../../services/flash-sale/flash-sale.ts';
import { freshForMs, Hint, keptForMs, type Seen, TRUSTED_MS } from '../../services/flash-sale/hint.ts';
import { UserFilter } from '../../services/flash-sale/user-filter.ts';

const sale: Seen = {
  status: 'open',
  remaining: 1_000,
  queued: 0,
  queueCap: 100,
  drainPerSecond: 50,
  opensInMs: -1_000,
};
const seen = (changes: Partial<Seen>): Seen => ({ ...sale, ...changes });

/** Any sale that can be seen. */
const anySale: fc.Arbitrary<Seen> = fc
  .record({
    status: fc.constantFrom<FlashSaleStatus>('scheduled', 'open', 'sold-out', 'closed'),
    queueCap: fc.integer({ min: 1, max: 1_000_000 }),
    remaining: fc.integer({ min: 0, max: 10 ** 9 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    drainPerSecond: fc.integer({ min: 1, max: 10_000 }),
    away: fc.integer({ min: 0, max: 10 ** 10 }),
  })
  .map(({ share, away, ...rest }) => ({
    ...rest,
    queued: Math.round(share * rest.queueCap),
    opensInMs: rest.status === 'scheduled' ? away : -away,
  }));
const anyChance = fc.double({ min: 0, max: 1, noNaN: true });

const anyAge = fc.double({ min: 0, max: 3_000, noNaN: true });

describe('the hint', () => {
  test.each<[string, Partial<Seen>, ReturnType<Hint['rejection']>]>([
    ['nothing, while there are places', { queued: 99 }, undefined],
    ['a full queue', { queued: 100 }, 'queue-full'],
    ['nothing, where the queue could take all units that are left', { queued: 0, remaining: 100 }, undefined],
    ['a sale that is sold out, whether its queue is full or not', { status: 'sold-out', queued: 100 }, 'sold-out'],
    ['a sale that is not open yet', { status: 'scheduled', opensInMs: 1 }, 'not-open'],
    ['a sale that is closed, whatever its queue', { status: 'closed', queued: 100 }, 'not-open'],
  ])('rejects for %s', (_what, changes, rejection) => {
    expect(new Hint(seen(changes), 0).rejection(0)).toBe(rejection);
  });

  test('is not believed for longer than a second, and is looked at again before', () => {
    fc.assert(
      fc.property(anySale, anyAge, (any, age) => {
        const hint = new Hint(any, 5_000);
        if (age >= TRUSTED_MS) expect(hint.rejection(5_000 + age)).toBeUndefined();
        expect(hint.isStale(5_000 + age)).toBe(age >= freshForMs(any));
        expect(freshForMs(any)).toBeLessThanOrEqual(keptForMs(any) / 2);
        expect(keptForMs(any)).toBeLessThanOrEqual(TRUSTED_MS);
      }),
    );
  });

  test('rejects nobody from the moment on when the sale opens', () => {
    fc.assert(
      fc.property(anySale, fc.integer({ min: 1, max: 5_000 }), anyAge, (any, opensInMs, age) => {
        const hint = new Hint({ ...any, status: 'scheduled', opensInMs }, 0);
        expect(hint.rejection(age)).toBe(age < Math.min(opensInMs, TRUSTED_MS) ? 'not-open' : undefined);
      }),
    );
  });

  test('lets as many newcomers ask as there are free places, some more, and then no more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), (places) => {
        const hint = new Hint(seen({ queued: 100 - places, remaining: 1_000 }), 0);
        let asked = 0;
        while (asked < 1_000 && hint.rejection(1) === undefined) asked++;
        if (places === 0) expect(asked).toBe(0);
        else expect(asked).toBeGreaterThanOrEqual(places);
        expect(asked).toBeLessThanOrEqual(places * 1.25 + 9);
        expect(hint.rejection(1)).toBe('queue-full');
      }),
    );
  });

  test('never says that the last units are sold while they are not', () => {
    fc.assert(
      fc.property(anySale, (any) => {
        const open = new Hint({ ...any, status: 'open', remaining: Math.max(1, any.remaining) }, 0);
        for (let asked = 0; asked < 50; asked++) expect(open.rejection(1)).not.toBe('sold-out');
      }),
    );
  });

  test('of a short queue is looked at while most of it still waits, so that the shop does not idle', () => {
    expect(freshForMs(seen({ queueCap: 10, drainPerSecond: 100 }))).toBeCloseTo(12.5);
    expect(freshForMs(seen({ queueCap: 1_000, drainPerSecond: 100 }))).toBe(100);
    expect(freshForMs(seen({ queueCap: 1, drainPerSecond: 10_000 }))).toBe(10);
  });

  test('is forgotten where nobody asks, the sooner the shorter the queue', () => {
    expect(keptForMs(sale)).toBe(400);
    expect(keptForMs(seen({ queueCap: 1, drainPerSecond: 10_000 }))).toBe(250);
    expect(keptForMs(seen({ status: 'sold-out' }))).toBe(TRUSTED_MS);
  });
});

describe('when to come back', () => {
  test('to a full queue: in half to one and a half of the time in which it drains', () => {
    const full = seen({ queued: 1_000, queueCap: 1_000, drainPerSecond: 50 });
    expect(retryAfterSeconds('queue-full', full, 0)).toBe(10);
    expect(retryAfterSeconds('queue-full', full, 0.5)).toBe(20);
    expect(retryAfterSeconds('queue-full', full, 1)).toBe(30);
  });

  test('to a sale that opens: not before it does, and within four seconds after', () => {
    fc.assert(
      fc.property(anySale, anyChance, (any, chance) => {
        if (any.status !== 'scheduled') return;
        const seconds = Number(retryAfterSeconds('not-open', any, chance));
        expect(seconds * 1_000).toBeGreaterThanOrEqual(any.opensInMs);
        expect(seconds * 1_000).toBeLessThanOrEqual(any.opensInMs + 4_000);
      }),
    );
  });

  test('to a sale that is closed or sold out: nobody knows', () => {
    expect(retryAfterSeconds('not-open', seen({ status: 'closed' }), 0.5)).toBeUndefined();
    expect(retryAfterSeconds('sold-out', seen({ status: 'sold-out' }), 0.5)).toBeUndefined();
  });

  test('it is always a whole number of seconds, at least one, and grows with the chance and the queue', () => {
    fc.assert(
      fc.property(anySale, anyChance, anyChance, (any, one, other) => {
        const [low, high] = [Math.min(one, other), Math.max(one, other)];
        const seconds = Number(retryAfterSeconds('queue-full', any, low));
        expect(Number.isSafeInteger(seconds)).toBe(true);
        expect(seconds).toBeGreaterThanOrEqual(1);
        expect(seconds).toBeLessThanOrEqual(300);
        expect(retryAfterSeconds('queue-full', any, high)).toBeGreaterThanOrEqual(seconds);
        expect(retryAfterSeconds('queue-full', { ...any, queueCap: 2 * any.queueCap }, low)).toBeGreaterThanOrEqual(
          seconds,
        );
      }),
    );
  });

  test('those who are rejected together do not come back together', () => {
    const full = seen({ queued: 1_000, queueCap: 1_000, drainPerSecond: 50 });
    const seconds = Array.from({ length: 100 }, (_, index) => retryAfterSeconds('queue-full', full, index / 100));
    expect(new Set(seconds).size).toBeGreaterThan(15);
  });
});

describe('who may have a ticket', () => {
  const anyUser = fc.string({ unit: fc.constantFrom(...'abcXYZ019_.:@-'), minLength: 1, maxLength: 64 });

  test('never "no" for someone who was added, however small or full the filter', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.array(anyUser, { maxLength: 200 }), (expected, users) => {
        const filter = new UserFilter(expected);
        for (const user of users) filter.add(user);
        expect(users.every((user) => filter.mayHave(user))).toBe(true);
      }),
    );
  });

  test('an empty one says "no" to everyone', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10 ** 9 }), anyUser, (expected, user) => {
        expect(new UserFilter(Math.min(expected, 10 ** 6)).mayHave(user)).toBe(false);
      }),
      { numRuns: 50 },
    );
  });

  test.each([
    ['numbered', (index: number) => `user-${index}`],
    ['nearly alike', (index: number) => `${'u'.repeat(50)}${index.toString(36)}`],
    ['in reverse', (index: number) => `${index.toString().split('').reverse().join('')}@example.org`],
  ])('of %s newcomers fewer than one in ten is asked about, with as many holders as were expected', (_how, name) => {
    const filter = new UserFilter(10_000);
    for (let index = 0; index < 10_000; index++) filter.add(name(index));
    let maybe = 0;
    for (let index = 10_000; index < 30_000; index++) if (filter.mayHave(name(index))) maybe++;
    expect(maybe / 20_000).toBeLessThan(0.1);
  });

  test('a sale of a thousand million units costs no more memory than one of a million', () => {
    const filter = new UserFilter(1_000_000_000);
    filter.add('ann');
    expect(filter.mayHave('ann')).toBe(true);
    let maybe = 0;
    for (let index = 0; index < 1_000; index++) if (filter.mayHave(`user-${index}`)) maybe++;
    expect(maybe).toBeLessThan(5);
  });
});
