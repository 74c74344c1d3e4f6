// Checks the list of `npm run test:mutations` without making the mutations.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sourceRoot } from '../mutations/copy.ts';
import { changed } from '../mutations/mutation.ts';
import { mutations } from '../mutations/mutations.ts';
import { tryAll } from '../mutations/try.ts';

describe('a mutation', () => {
  test.each(mutations)('$name: its text occurs once, and its test files exist', ({ changes, tests }) => {
    const texts = new Map<string, string>();
    for (const change of changes) {
      const text = texts.get(change.file) ?? readFileSync(join(sourceRoot, change.file), 'utf8');
      texts.set(change.file, changed(text, change));
    }
    expect(tests.files.filter((file) => !existsSync(join(sourceRoot, file)))).toEqual([]);
    expect(() => new RegExp(tests.pattern)).not.toThrow();
  });

  test('has a unique name', () => {
    const names = mutations.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  test('is an error if its text is missing or occurs twice', () => {
    const change = { file: 'a.ts', find: 'x = 1', replace: 'x = 2' };
    expect(changed('let x = 1;', change)).toBe('let x = 2;');
    expect(() => changed('let y = 1;', change)).toThrow('a.ts holds this 0 times, not once');
    expect(() => changed('x = 1; x = 1;', change)).toThrow('a.ts holds this 2 times, not once');
  });

  test.each([
    { file: 'package.json', find: 'a text that is not there', why: 'package.json holds this 0 times, not once' },
    { file: 'moved/away.ts', find: 'x', why: 'moved/away.ts' },
  ])('has failed if its text is not found in $file', async ({ file, find, why }) => {
    const lost = {
      ...mutations[0],
      name: 'lost',
      changes: [{ file, find, replace: '' }],
    } as (typeof mutations)[number];
    const verdicts = await tryAll([lost], AbortSignal.timeout(1_000));
    expect(verdicts).toMatchObject([{ mutation: lost, outcome: 'failed', why: expect.stringContaining(why) }]);
  });
});
