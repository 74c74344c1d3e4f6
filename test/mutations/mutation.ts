// A mutation: a mistake made on purpose by replacing source text, and the tests that must detect it.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Change {
  /** Relative to the root of the source tree. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

export interface Mutation {
  readonly name: string;
  /** The mistake, and why it matters. */
  readonly lesson: string;
  readonly changes: readonly Change[];
  /** The fastest tests that detect it. */
  readonly tests: {
    readonly files: readonly string[];
    /** A regular expression for the tests' full names, as in `vitest -t`. */
    readonly pattern: string;
  };
  /** Part of the failure: a test that fails for another reason has not detected the mutation. */
  readonly failure: string;
}

/** Returns the text with the change made. Throws unless the text to replace occurs exactly once. */
export function changed(text: string, { file, find, replace }: Change): string {
  const parts = text.split(find);
  if (parts.length !== 2) throw new Error(`${file} holds this ${parts.length - 1} times, not once:\n${find}`);
  return parts.join(replace);
}

/** The changed files before and after the mutation. Rejects unless each text to replace occurs exactly once. */
async function filesOf({ changes }: Mutation, root: string) {
  const before = new Map<string, string>();
  const after = new Map<string, string>();
  for (const change of changes) {
    const text = after.get(change.file) ?? (await readFile(join(root, change.file), 'utf8'));
    if (!after.has(change.file)) before.set(change.file, text);
    after.set(change.file, changed(text, change));
  }
  return { before, after };
}

/** Why the mutation cannot be made in the tree at `root`; undefined if it can. */
export async function whyImpossible(mutation: Mutation, root: string): Promise<string | undefined> {
  try {
    await filesOf(mutation, root);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Makes the mutation in the tree at `root`; resolves with a function that undoes it. */
export async function apply(mutation: Mutation, root: string): Promise<() => Promise<void>> {
  const { before, after } = await filesOf(mutation, root);
  const write = async (files: ReadonlyMap<string, string>) => {
    for (const [file, text] of files) await writeFile(join(root, file), text);
  };
  await write(after);
  return () => write(before);
}
