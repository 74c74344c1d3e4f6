import { InvalidArgumentError } from '@commander-js/extra-typings';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FailedMessages, type ListedMessage } from '../../cli/failed/client.ts';
import { hasFilter, parseAge, queryOf } from '../../cli/failed/options.ts';
import { newestFirst, renderList, renderMessage, renderRetries } from '../../cli/failed/render.ts';
import { RetryRun } from '../../cli/failed/retry.ts';
import { run } from '../../cli/program.ts';
import { requestTo } from '../../contracts/client.ts';
import { failedMessagesQuery, retryQuery } from '../../contracts/operations.ts';
import type { HttpClient } from '../../demos/shared/http.ts';

const message = (changes: Partial<ListedMessage> = {}): ListedMessage => ({
  service: 'points',
  id: '019a0000-0000-7000-8000-000000000001',
  type: 'order.placed',
  subject: '019a0000-0000-7000-8000-0000000000aa',
  status: 'dead',
  attempts: 5,
  error: 'out of points',
  group: '019a0000-0000-8000-8000-0000000000bb',
  nextAttemptAt: null,
  receivedAt: '2026-11-20T16:15:58.123Z',
  discardedAt: null,
  discardReason: null,
  payloadBytes: 300,
  truncated: false,
  corrected: false,
  ...changes,
});

const dry = { dryRun: true, waited: true };
const notWaited = { dryRun: false, waited: false };

describe('parseAge()', () => {
  test.each([
    ['0s', 0],
    ['30s', 30],
    ['10m', 600],
    ['2h', 7_200],
    ['3650d', 315_360_000],
  ])('%s is %i seconds', (given, seconds) => expect(parseAge(given)).toBe(seconds * 1_000));

  test.each(['', '10', 'm', '-1h', '1.5h', '1 h', '1w', '3651d', '999999999d', '1h30m'])('rejects %j', (given) => {
    expect(() => parseAge(given)).toThrow(InvalidArgumentError);
  });
});

describe('a filter', () => {
  const filter = {
    type: 'order.placed',
    status: 'dead',
    error: '100% & more',
    olderThan: 600_000,
    newerThan: 0,
  } as const;

  test('becomes a query that both routes accept', () => {
    const filtered = queryOf({ service: ['points'], ...filter });
    const { path } = requestTo('GET /failed-messages/:service', { params: { service: 'points' }, query: filtered });
    const query = Object.fromEntries(new URL(path, 'http://localhost').searchParams);
    const parsed = {
      type: 'order.placed',
      status: 'dead',
      error: '100% & more',
      olderThanSeconds: 600,
      newerThanSeconds: 0,
    };
    expect(retryQuery.parse(query)).toEqual({ ...parsed, dryRun: false });
    expect(failedMessagesQuery.parse(query)).toEqual({ ...parsed, limit: 50 });
  });

  test('is narrow as soon as it has any condition', () => {
    expect(hasFilter({})).toBe(false);
    expect(hasFilter({ service: ['points'] })).toBe(true);
    for (const [name, value] of Object.entries(filter)) expect(hasFilter({ [name]: value }), name).toBe(true);
  });
});

describe('as text', () => {
  test('a list has one line per message, without control characters', () => {
    const lines = renderList([message({ error: `\u001b[2Jbad\n${'x'.repeat(200)}` })], false);
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatch(
      /^points {3}dead {4}5 {9}2026-11-20 16:15:58Z {2}order\.placed {2}019a0000-0000-7000-8000-000000000001 {2}\uFFFD\[2Jbad\uFFFDx+…$/,
    );
    expect(renderList([], false)).toEqual(['no failed messages']);
    expect(renderList([message()], true).at(-1)).toBe('the newest 1; there are more: see --limit');
  });

  test('the lists of several services are merged, newest first', () => {
    const [a, b, c] = [
      message({ id: 'a', receivedAt: '2026-11-20T10:00:00.000Z' }),
      message({ id: 'b', service: 'coupon', receivedAt: '2026-11-20T12:00:00.000Z' }),
      message({ id: 'c', receivedAt: '2026-11-20T10:00:00.000Z' }),
    ];
    expect(newestFirst([a, b, c].flatMap((each) => each ?? []))).toEqual([b, c, a]);
  });

  test.each([
    ['{"a":[1],"b":"x"}', ['  {', '    "a": [', '      1', '    ],', '    "b": "x"', '  }']],
    ['{"a":12345678901234567890}', ['  {"a":12345678901234567890}']],
    ['not\tJSON\nat all', ['  not\uFFFDJSON', '  at all']],
    ['', ['  ']],
  ])('the payload %j is formatted if it is JSON', (payload, lines) => {
    const shown = renderMessage('points', { ...message(), payload, correctedPayload: null });
    expect(shown.slice(shown.indexOf('payload:') + 1)).toEqual(lines);
  });

  test('a message shows its next attempt, and that its payload is cut', () => {
    const shown = renderMessage('points', {
      ...message({ status: 'retrying', attempts: 1, nextAttemptAt: '2026-11-20T16:16:58.000Z', type: null }),
      payload: 'x'.repeat(65_536),
      correctedPayload: null,
      payloadBytes: 3_145_728,
      truncated: true,
    });
    expect(shown[0]).toMatch(/: retrying after 1 attempt$/);
    expect(shown).toContain('  type          ?');
    expect(shown).toContain('  next attempt  2026-11-20 16:16:58Z');
    expect(shown).toContain(
      'payload, the first 64 KiB of 3,145,728 bytes (the rest is not stored, so it cannot be retried):',
    );
  });

  test('a run that has not begun counts every message as left', () => {
    const asOf = '2026-11-20T16:15:58.123456Z';
    const previews = new Map([
      ['points', { matching: 1_200, truncated: 0, asOf }],
      ['order', { matching: 0, truncated: 0, asOf }],
      ['coupon', { matching: 3, truncated: 0, asOf }],
    ] as const);
    const run = new RetryRun(previews);
    expect(renderRetries(run, dry)).toEqual([
      '  points  1,200 would be retried',
      '  coupon  3 would be retried',
      '1,203 would be retried',
    ]);
    expect(renderRetries(run, notWaited).at(-1)).toBe('0 retried, 1,203 left');
    expect(renderRetries(new RetryRun(new Map()), notWaited)).toEqual(['no failed message matches']);
  });

  test('a run names the messages that it cannot retry', () => {
    const previews = (matching: number) => new Map([['points', { matching, truncated: 2, asOf: '' }] as const]);
    const cannot = '2 cannot be retried: only their first 64 KiB are stored';
    expect(renderRetries(new RetryRun(previews(1)), dry)).toEqual([
      '  points  1 would be retried',
      '1 would be retried',
      cannot,
    ]);
    expect(renderRetries(new RetryRun(previews(0)), notWaited)).toEqual([cannot]);
  });
});

describe('a run of retries', () => {
  const asOf = '2026-11-20T16:15:58.123456Z';
  const signal = new AbortController().signal;

  test('waits until each message has an outcome, also through another run', async () => {
    const run = new RetryRun(new Map([['points', { matching: 5, truncated: 0, asOf }] as const]));
    const queries: unknown[] = [];
    const left = [2, 2, 0];
    const retry: FailedMessages['retry'] = async (_service, query) => {
      queries.push(query);
      const after = left.shift() ?? 0;
      return { retried: left.length === 2 ? 3 : left.length === 1 ? 0 : 2, left: after, truncated: 0 };
    };
    await run.retryAll({ retry }, {}, { rate: 100, signal, onProgress: () => {} });
    expect(queries).toEqual(Array(3).fill({ run: run.id, asOf }));
    expect(run.totals).toMatchObject({ retried: 5, left: 0 });

    const states = [
      { waiting: 5, succeeded: 0, failed: 0 },
      { waiting: 2, succeeded: 2, failed: 1 },
      { waiting: 0, succeeded: 2, failed: 2 },
    ];
    const done: number[] = [];
    const progress: FailedMessages['progress'] = async () => states.shift() ?? { waiting: 0, succeeded: 2, failed: 2 };
    await run.awaitOutcomes({ progress }, { signal, onProgress: (number) => done.push(number) });
    expect(done).toEqual([0, 3, 5]);
    expect(states).toEqual([]);
    expect(run.totals).toMatchObject({ succeeded: 2, failed: 2, takenOver: 1 });
    expect(renderRetries(run, { dryRun: false, waited: true }).at(-1)).toBe(
      '5 retried: 2 succeeded, 2 failed again, 1 retried again by another run, 0 left',
    );
  });

  test('does not ask for outcomes if nothing was retried', async () => {
    const run = new RetryRun(new Map([['points', { matching: 0, truncated: 0, asOf }] as const]));
    const progress: FailedMessages['progress'] = () => Promise.reject(new Error('it was asked'));
    await run.awaitOutcomes({ progress }, { signal, onProgress: () => {} });
  });
});

test('stops listing if a server announces a page after an empty one', async () => {
  let requests = 0;
  const http: Pick<HttpClient, 'call'> = {
    call: async (key) => {
      if (++requests > 3) throw new Error('too many requests');
      return { key, status: 200, headers: {}, text: '', body: { items: [], next: message().id }, ms: 1 };
    },
  };
  const listing = new FailedMessages(http as HttpClient, new AbortController().signal).list('points', {}, 10);
  await expect(listing).rejects.toThrow(/next: follows an empty page/);
});

describe('the command line', () => {
  let out: string;
  let err: string;
  beforeEach(() => {
    out = '';
    err = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      out += String(chunk);
      return true;
    });
    vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
      err += String(chunk);
      return true;
    });
  });
  afterEach(() => vi.restoreAllMocks());

  const id = '019a0000-0000-7000-8000-000000000001';

  test.each([[[]], [['list']], [['show']], [['groups']], [['retry']], [['discard']], [['actions']]])(
    'shows help with an example, wrapped at 80 columns: failed %j',
    async (command) => {
      expect(await run(['failed', ...command, '--help'])).toBe(0);
      expect(out).toMatch(/Examples?:\n +\$ sluice failed/);
      expect(out.split('\n').filter((line) => line.length > 80)).toEqual([]);
    },
  );

  test.each([
    [[], /Usage: sluice failed/],
    [['lst'], /Did you mean list/],
    [['list', '--service', 'billing'], /--service.*Allowed choices are order, points/],
    [['list', '--limit', '1001'], /--limit.*an integer from 1 to 1000/],
    [['list', '--older-than', 'long'], /--older-than.*such as 30s or 5m, up to 3650d/],
    [['list', '--error', ''], /--error/],
    [['show', 'points', '7'], /'id'.*UUID/],
    [['show', 'points'], /missing required argument 'id'/],
    [['retry'], /^error: nothing was retried: .*add --all\n$/],
    [['retry', 'points'], /missing argument 'id'.*--service/],
    [['retry', 'points', id, '--all'], /cannot be combined with an id/],
    [['retry', 'points', id, '--error', 'x'], /cannot be combined with an id/],
    [['retry', '--all', '--data', 'x.json'], /--data is for one message/],
    [['retry', '--group', 'x', '--all'], /--group.*UUID from `sluice failed groups`/],
    [['discard', 'points', id], /required option '--reason <text>' not specified/],
    [['discard', 'points', id, '--reason', ''], /--reason.*1 to 200 characters/],
    [['groups', '--limit', '0'], /--limit.*an integer from 1 to 1000/],
    [['actions', '--service', 'billing'], /--service.*Allowed choices are order, points/],
    [['retry', '--all', '--rate', '0'], /--rate.*an integer from 1 to 10000/],
  ])('rejects invalid arguments and exits with 2: failed %j', async (argv, message) => {
    expect(await run(['failed', ...argv])).toBe(2);
    expect(err).toMatch(message);
  });

  test.each([[['list', '--url', 'http://127.0.0.1:1'], /^error: cannot reach http:\/\/127\.0\.0\.1:1: .*\n$/]])(
    'prints the error in one line and exits with 1: failed %j',
    async (argv, message) => {
      expect(await run(['failed', ...argv])).toBe(1);
      expect(err).toMatch(message);
      expect(out).toBe('');
    },
  );
});
