import { describe, expect, test } from 'vitest';
import { GroupCommit, type GroupCommitOptions } from '../../infra/database/group-commit.ts';
import { ConcurrentUpdate, DatabaseUnavailable, Overloaded } from '../../infra/database/port.ts';
import { deferred } from '../../infra/runtime/promises.ts';

/** A group commit that records its batches; `work` is the commit of each. */
function committing(
  work: (batch: string[], run: number) => Promise<string[]> | string[],
  { maxBatch = 100, maxWaiting = 1_000, ...gathering }: Partial<GroupCommitOptions<string, string>> = {},
) {
  const batches: string[][] = [];
  const commits = new GroupCommit<string, string>({
    run: async (batch) => {
      batches.push([...batch]);
      return work(batch, batches.length);
    },
    key: (item) => item,
    maxBatch,
    maxWaiting,
    ...gathering,
  });
  return { commits, batches };
}
const upperCase = (batch: string[]) => batch.map((item) => item.toUpperCase());
const deadlock = () => Object.assign(new Error('deadlock detected'), { code: '40P01' });

describe('group commit', () => {
  test('items submitted together share a sorted batch, and each gets its own result', async () => {
    const { commits, batches } = committing(upperCase);
    expect(await Promise.all(['c', 'a', 'b'].map((item) => commits.submit(item)))).toEqual(['C', 'A', 'B']);
    expect(batches).toEqual([['a', 'b', 'c']]);
  });

  test('items submitted during a commit share the next batch, and only one commit runs at a time', async () => {
    const first = deferred();
    let running = 0;
    const { commits, batches } = committing(async (batch, run) => {
      running++;
      expect(running).toBe(1);
      if (run === 1) await first.promise;
      running--;
      return upperCase(batch);
    });
    const one = commits.submit('first');
    await new Promise((resolve) => setImmediate(resolve));
    const others = ['z', 'y', 'x'].map((item) => commits.submit(item));
    first.resolve();
    expect(await Promise.all([one, ...others])).toEqual(['FIRST', 'Z', 'Y', 'X']);
    expect(batches).toEqual([['first'], ['x', 'y', 'z']]);
  });

  test('a batch has a maximum size', async () => {
    const { commits, batches } = committing(upperCase, { maxBatch: 2 });
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map((item) => commits.submit(item)));
    expect(batches.map(({ length }) => length)).toEqual([2, 2, 1]);
  });

  test('many items that wait start a second statement, and no third one', async () => {
    const [first, second] = [deferred(), deferred()];
    const { commits, batches } = committing(
      async (batch, run) => {
        await [first, second][run - 1]?.promise;
        return upperCase(batch);
      },
      { secondFrom: 2 },
    );
    const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
    const submitted: Promise<string>[] = [];
    const submit = async (...items: string[]) => {
      submitted.push(...items.map((item) => commits.submit(item)));
      await nextTurn();
    };
    await submit('a');
    await submit('b');
    expect(batches).toEqual([['a']]);
    await submit('c');
    await submit('d');
    await submit('e');
    expect(batches).toEqual([['a'], ['b', 'c']]);
    second.resolve();
    expect(await Promise.all(submitted.slice(1))).toEqual(['B', 'C', 'D', 'E']);
    expect(batches).toEqual([['a'], ['b', 'c'], ['d', 'e']]);
    first.resolve();
    await Promise.all(submitted);
  });

  describe('that gathers items', () => {
    const GATHER_MS = 300;
    const many = Array.from({ length: 20 }, (_, index) => String(index));

    /** Submits `first` at once and then one more item; returns how long that one took, in milliseconds. */
    async function timeAfter(first: readonly string[]): Promise<number> {
      const { commits } = committing(upperCase, { gatherMs: GATHER_MS });
      await Promise.all(first.map((item) => commits.submit(item)));
      const submittedAt = performance.now();
      await commits.submit('next');
      return performance.now() - submittedAt;
    }

    test('waits for more while items come steadily', async () => {
      expect(await timeAfter(many)).toBeGreaterThan(GATHER_MS / 2);
    });

    test('does not let an item wait that comes alone, or soon after a few others', async () => {
      expect(await timeAfter([])).toBeLessThan(GATHER_MS / 2);
      expect(await timeAfter(['a', 'b', 'c'])).toBeLessThan(GATHER_MS / 2);
    });

    test('does not wait if enough items are waiting', async () => {
      const first = deferred();
      const { commits, batches } = committing(
        async (batch, run) => {
          if (run === 1) await first.promise;
          return upperCase(batch);
        },
        { gatherMs: 5_000, gatherUntil: 3 },
      );
      const started = many.map((item) => commits.submit(item));
      await new Promise((resolve) => setImmediate(resolve));
      const waiting = ['x', 'y', 'z'].map((item) => commits.submit(item));
      first.resolve();
      expect(await Promise.all([...started, ...waiting])).toContain('Z');
      expect(batches).toHaveLength(2);
    });

    test('stops waiting as soon as enough items are waiting', async () => {
      const { commits, batches } = committing(upperCase, { gatherMs: 60_000, gatherUntil: 3 });
      await Promise.all(many.map((item) => commits.submit(item)));
      const gathered = ['x', 'y', 'z'].map((item) => commits.submit(item));
      expect(await Promise.all(gathered)).toEqual(['X', 'Y', 'Z']);
      expect(batches).toHaveLength(2);
    });
  });

  test('the number of waiting items has a maximum', async () => {
    const { commits } = committing(upperCase, { maxWaiting: 2 });
    const [one, two, three] = ['a', 'b', 'c'].map((item) => commits.submit(item));
    await expect(three).rejects.toBeInstanceOf(Overloaded);
    expect(await Promise.all([one, two])).toEqual(['A', 'B']);
    expect(await commits.submit('later')).toBe('LATER');
  });

  test('a bad item fails alone', async () => {
    const { commits, batches } = committing((batch) => {
      if (batch.includes('bad')) throw new Error('22021');
      return upperCase(batch);
    });
    const results = await Promise.allSettled(['a', 'bad', 'c'].map((item) => commits.submit(item)));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(batches).toEqual([['a', 'bad', 'c'], ['a'], ['bad'], ['c']]);
  });

  test('a batch is retried after a deadlock, but not for ever', async () => {
    let left = 3;
    const { commits } = committing((batch) => {
      if (left-- > 0) throw deadlock();
      return upperCase(batch);
    });
    expect(await Promise.all([commits.submit('a'), commits.submit('b')])).toEqual(['A', 'B']);

    const never = committing(() => {
      throw deadlock();
    });
    const results = await Promise.allSettled([never.commits.submit('a'), never.commits.submit('b')]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(never.batches.length).toBeLessThanOrEqual(11);
  });

  test('a batch with one item is retried after a conflict, but not for ever', async () => {
    let left = 3;
    const { commits, batches } = committing((batch) => {
      if (left-- > 0) throw deadlock();
      return upperCase(batch);
    });
    expect(await commits.submit('a')).toBe('A');
    expect(batches).toEqual([['a'], ['a'], ['a'], ['a']]);

    const never = committing(() => {
      throw deadlock();
    });
    await expect(never.commits.submit('a')).rejects.toBeInstanceOf(ConcurrentUpdate);
    expect(never.batches).toHaveLength(5);
  });

  test('once the database is unavailable, the rest of a bad batch and all waiting items fail at once', async () => {
    const away = new DatabaseUnavailable(new Error('gone'));
    const later: Promise<string>[] = [];
    const { commits, batches } = committing((batch) => {
      if (batch.length > 1) throw new Error('22021');
      if (batch[0] === 'a') return upperCase(batch);
      if (later.length === 0) later.push(commits.submit('later'));
      throw away;
    });
    const results = await Promise.allSettled(['a', 'b', 'c', 'd'].map((item) => commits.submit(item)));
    const rejected = { status: 'rejected', reason: away };
    expect(results).toEqual([{ status: 'fulfilled', value: 'A' }, rejected, rejected, rejected]);
    expect(await Promise.allSettled(later)).toEqual([rejected]);
    expect(batches).toEqual([['a', 'b', 'c', 'd'], ['a'], ['b']]);
  });

  test.each([
    ['fewer', ['A']],
    ['more', ['A', 'B', 'C']],
  ])('a run with %s results than items rejects all of them, and is not repeated', async (_, answers) => {
    const { commits, batches } = committing(() => answers);
    const results = await Promise.allSettled(['a', 'b'].map((item) => commits.submit(item)));
    const reason = new Error(`a batch of 2 was committed with ${answers.length} results`);
    expect(results).toEqual([
      { status: 'rejected', reason },
      { status: 'rejected', reason },
    ]);
    expect(batches).toHaveLength(1);
  });

  test('while the database is unavailable items are not tried one by one', async () => {
    const { commits, batches } = committing(() => {
      throw new DatabaseUnavailable(new Error('gone'));
    });
    const results = await Promise.allSettled(['a', 'b', 'c'].map((item) => commits.submit(item)));
    expect(results.every(({ status }) => status === 'rejected')).toBe(true);
    expect(batches).toHaveLength(1);
  });
});
