// Decisions about a sale from memory: the pure ones, the snapshot that rejects newcomers, and the filter of its
// holders.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FlashSaleStatus } from '../../contracts/flash-sales.ts';
import { addUser, createBloomFilter, mayContain } from '../../services/flash-sale/bloom-filter.ts';
import {
  freshForMs,
  keptForMs,
  MAX_AGE_MS,
  rejectionOf,
  retryAfterSeconds,
  type Snapshot,
} from '../../services/flash-sale/flash-sale.ts';
import { SaleSnapshot } from '../../services/flash-sale/sale-snapshot.ts';
import type { Peek } from '../../services/flash-sale/store/sales.ts';

const sale: Snapshot = {
  status: 'open',
  remaining: 1_000,
  queued: 0,
  queueCap: 100,
  drainPerSecond: 50,
  opensInMs: -1_000,
};
const saleWith = (changes: Partial<Snapshot>): Snapshot => ({ ...sale, ...changes });

const anySale: fc.Arbitrary<Snapshot> = fc
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
const anyRandom = fc.double({ min: 0, max: 1, noNaN: true });
const anyAge = fc.double({ min: 0, max: 3_000, noNaN: true });

/** A snapshot whose clock and row are the test's. */
function snapshotOf(row: Snapshot, changes: Partial<Peek> = {}) {
  const state = { now: 5_000, peeks: 0, row: { ...row, stock: 1_000, admitted: 0, users: [], ...changes } as Peek };
  const snapshot = new SaleSnapshot({
    peek: async () => {
      state.peeks++;
      return state.row;
    },
    onError: () => {},
    now: () => state.now,
  });
  return { state, snapshot };
}

describe('a rejection from memory', () => {
  test.each<[string, Partial<Snapshot>, ReturnType<typeof rejectionOf>]>([
    ['no sale with free places in its queue', { queued: 99 }, undefined],
    ['a full queue', { queued: 100 }, 'queue-full'],
    ['no sale whose queue could take every unit left', { queued: 0, remaining: 100 }, undefined],
    ['a sold-out sale, whether its queue is full or not', { status: 'sold-out', queued: 100 }, 'sold-out'],
    ['a sale that is not open yet', { status: 'scheduled', opensInMs: 1 }, 'not-open'],
    ['a closed sale with a full queue', { status: 'closed', queued: 100 }, 'not-open'],
  ])('is for %s', async (_what, changes, rejection) => {
    const { snapshot } = snapshotOf(saleWith(changes));
    await snapshot.read();
    expect(snapshot.reject('ann')).toBe(rejection);
  });

  test('never uses a snapshot older than a second, and the snapshot is read again before', async () => {
    await fc.assert(
      fc.asyncProperty(anySale, anyAge, async (any, age) => {
        const { state, snapshot } = snapshotOf(any);
        await snapshot.read();
        state.now += age;
        const rejection = snapshot.reject('ann');
        if (age >= MAX_AGE_MS) expect(rejection).toBeUndefined();
        expect(state.peeks).toBe(age >= freshForMs(any) ? 2 : 1);
        expect(freshForMs(any)).toBeLessThanOrEqual(keptForMs(any) / 2);
        expect(keptForMs(any)).toBeLessThanOrEqual(MAX_AGE_MS);
      }),
    );
  });

  test('rejects no buyer once the sale opens', () => {
    fc.assert(
      fc.property(anySale, fc.integer({ min: 1, max: 5_000 }), anyAge, (any, opensInMs, age) => {
        const rejection = rejectionOf({ ...any, status: 'scheduled', opensInMs }, age, 0);
        expect(rejection).toBe(age < Math.min(opensInMs, MAX_AGE_MS) ? 'not-open' : undefined);
      }),
    );
  });

  test('lets through as many newcomers as there are free places, some more, and then none', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 100 }), async (places) => {
        const { snapshot } = snapshotOf(saleWith({ queued: 100 - places, remaining: 1_000 }));
        await snapshot.read();
        let passed = 0;
        while (passed < 1_000 && snapshot.reject(`user-${passed}`) === undefined) passed++;
        if (places === 0) expect(passed).toBe(0);
        else expect(passed).toBeGreaterThanOrEqual(places);
        expect(passed).toBeLessThanOrEqual(places * 1.25 + 9);
        expect(snapshot.reject('ann')).toBe('queue-full');
      }),
    );
  });

  test('of a newcomer makes room for another one if a request does not reach the row after all', async () => {
    const { state, snapshot } = snapshotOf(saleWith({ queued: 99 }), { admitted: 1, users: ['holder'] });
    await snapshot.read();
    const requests = Array.from({ length: 10 }, () => ({}));
    for (const request of requests) expect(snapshot.reject('ann', request)).toBeUndefined();
    expect(snapshot.reject('bob', {})).toBe('queue-full');
    const [first = {}, second = {}] = requests;
    for (let time = 0; time < 2; time++) snapshot.returnAttempt(first);
    expect(snapshot.reject('bob', {})).toBeUndefined();
    expect(snapshot.reject('bob', {})).toBe('queue-full');
    // Neither took an attempt of this snapshot.
    expect(snapshot.reject('holder', second)).toBeUndefined();
    state.now += 100;
    await snapshot.read();
    snapshot.returnAttempt(second);
    snapshot.returnAttempt({});
    for (const request of requests) expect(snapshot.reject('ann', request)).toBeUndefined();
    expect(snapshot.reject('bob', {})).toBe('queue-full');
  });

  test('never claims that the last units are sold', async () => {
    await fc.assert(
      fc.asyncProperty(anySale, async (any) => {
        const { snapshot } = snapshotOf({ ...any, status: 'open', remaining: Math.max(1, any.remaining) });
        await snapshot.read();
        for (let index = 0; index < 50; index++) expect(snapshot.reject(`user-${index}`)).not.toBe('sold-out');
      }),
    );
  });

  test('is never for a buyer who holds a ticket from any gateway', async () => {
    const users = Array.from({ length: 50 }, (_, index) => `holder-${index}`);
    const { state, snapshot } = snapshotOf(saleWith({ queued: 100 }), { admitted: 50, users });
    await snapshot.read();
    snapshot.addHolder('own-holder');
    for (const user of [...users, 'own-holder']) expect(snapshot.reject(user)).toBeUndefined();
    expect(snapshot.reject('newcomer')).toBe('queue-full');
    state.row = { ...state.row, admitted: 51, users: ['later'] };
    state.now += 100;
    await snapshot.read();
    expect(snapshot.reject('later')).toBeUndefined();
  });

  test('needs every holder: if the table lacks tickets, the row decides about everyone', async () => {
    const { state, snapshot } = snapshotOf(saleWith({ queued: 100 }), { admitted: 3, users: ['ann', 'bob'] });
    const reading = snapshot.read();
    state.row = { ...state.row, users: [] };
    await reading;
    expect(state.peeks).toBe(2);
    expect(snapshot.reject('newcomer')).toBeUndefined();
  });
});

describe('a snapshot', () => {
  test('of a short queue is read again while most of the queue still waits, so that the shop does not idle', () => {
    expect(freshForMs(saleWith({ queueCap: 10, drainPerSecond: 100 }))).toBeCloseTo(12.5);
    expect(freshForMs(saleWith({ queueCap: 1_000, drainPerSecond: 100 }))).toBe(100);
    expect(freshForMs(saleWith({ queueCap: 1, drainPerSecond: 10_000 }))).toBe(10);
  });

  test('of a sale that is not open yet is read again when it opens, so that the rush does not all reach the row', () => {
    expect(freshForMs(saleWith({ status: 'scheduled', opensInMs: 60_000 }))).toBe(250);
    expect(freshForMs(saleWith({ status: 'scheduled', opensInMs: 40 }))).toBe(40);
  });

  test('is dropped without requests, the sooner the shorter the queue', async () => {
    expect(keptForMs(sale)).toBe(400);
    expect(keptForMs(saleWith({ queueCap: 1, drainPerSecond: 10_000 }))).toBe(250);
    expect(keptForMs(saleWith({ status: 'sold-out' }))).toBe(MAX_AGE_MS);
    const { state, snapshot } = snapshotOf(saleWith({ queued: 100 }));
    await snapshot.read();
    state.now += 399;
    expect(snapshot.reject('ann')).toBe('queue-full');
    await snapshot.read();
    state.now += 400;
    expect(snapshot.reject('ann')).toBeUndefined();
  });
});

describe('Retry-After', () => {
  test('of a full queue is half to one and a half times the time in which it drains', () => {
    const full = saleWith({ queued: 1_000, queueCap: 1_000, drainPerSecond: 50 });
    expect(retryAfterSeconds('queue-full', full, 0)).toBe(10);
    expect(retryAfterSeconds('queue-full', full, 0.5)).toBe(20);
    expect(retryAfterSeconds('queue-full', full, 1)).toBe(30);
  });

  test('of a sale that is not open yet is never before it opens, and within four seconds after', () => {
    fc.assert(
      fc.property(anySale, anyRandom, (any, random) => {
        if (any.status !== 'scheduled') return;
        const seconds = Number(retryAfterSeconds('not-open', any, random));
        expect(seconds * 1_000).toBeGreaterThanOrEqual(any.opensInMs);
        expect(seconds * 1_000).toBeLessThanOrEqual(any.opensInMs + 4_000);
      }),
    );
  });

  test('is unset for a sale that is closed or sold out', () => {
    expect(retryAfterSeconds('not-open', saleWith({ status: 'closed' }), 0.5)).toBeUndefined();
    expect(retryAfterSeconds('sold-out', saleWith({ status: 'sold-out' }), 0.5)).toBeUndefined();
  });

  test('is a whole number of seconds, at least one, and grows with the random number and the queue', () => {
    fc.assert(
      fc.property(anySale, anyRandom, anyRandom, (any, one, other) => {
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

  test('spreads buyers who are rejected together', () => {
    const full = saleWith({ queued: 1_000, queueCap: 1_000, drainPerSecond: 50 });
    const seconds = Array.from({ length: 100 }, (_, index) => retryAfterSeconds('queue-full', full, index / 100));
    expect(new Set(seconds).size).toBeGreaterThan(15);
  });
});

describe('the filter of holders', () => {
  const anyUser = fc.string({ unit: fc.constantFrom(...'abcXYZ019_.:@-'), minLength: 1, maxLength: 64 });

  test('never misses a user who was added, however small or full it is', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.array(anyUser, { maxLength: 200 }), (expected, users) => {
        const filter = createBloomFilter(expected);
        for (const user of users) addUser(filter, user);
        expect(users.every((user) => mayContain(filter, user))).toBe(true);
      }),
    );
  });

  test('contains no user while it is empty', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10 ** 9 }), anyUser, (expected, user) => {
        expect(mayContain(createBloomFilter(Math.min(expected, 10 ** 6)), user)).toBe(false);
      }),
      { numRuns: 50 },
    );
  });

  test.each([
    ['numbered', (index: number) => `user-${index}`],
    ['similarly named', (index: number) => `${'u'.repeat(50)}${index.toString(36)}`],
    ['reversely numbered', (index: number) => `${index.toString().split('').reverse().join('')}@example.org`],
  ])('has false positives for fewer than one in ten %s newcomers, with as many holders as expected', (_how, name) => {
    const filter = createBloomFilter(10_000);
    for (let index = 0; index < 10_000; index++) addUser(filter, name(index));
    let maybe = 0;
    for (let index = 10_000; index < 30_000; index++) if (mayContain(filter, name(index))) maybe++;
    expect(maybe / 20_000).toBeLessThan(0.1);
  });

  test('needs no more memory for a thousand million units than for a million', () => {
    const filter = createBloomFilter(1_000_000_000);
    expect(filter.byteLength).toBe(createBloomFilter(1_000_000).byteLength);
    addUser(filter, 'ann');
    expect(mayContain(filter, 'ann')).toBe(true);
    let maybe = 0;
    for (let index = 0; index < 1_000; index++) if (mayContain(filter, `user-${index}`)) maybe++;
    expect(maybe).toBeLessThan(5);
  });
});
