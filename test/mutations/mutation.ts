// A deliberate mistake: text of the program that is replaced, and the tests that must notice.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Change {
  /** Relative to the root of the source tree. */
  readonly file: string;
  /** Stands there exactly once. */
  readonly find: string;
  readonly replace: string;
}

export interface Mutation {
  readonly name: string;
  /** What is wrong now, and what a reader learns from it. */
  readonly lesson: string;
  readonly changes: readonly Change[];
  /** The cheapest ones that notice. */
  readonly tests: {
    readonly files: readonly string[];
    /** A regular expression on the tests' full names, as `vitest -t` takes it. */
    readonly pattern: string;
  };
  /** What the failure says, in part: a test that fails for another reason has not noticed. */
  readonly failure: string;
}

/** The file's text with the change in it. Throws where the text to be replaced is not there exactly once. */
export function changed(text: string, { file, find, replace }: Change): string {
  const parts = text.split(find);
  if (parts.length !== 2) throw new Error(`${file} holds this ${parts.length - 1} times, not once:\n${find}`);
  return parts.join(replace);
}

/** The files that the mistake changes, before and after. Rejects if one of its places is not found exactly once. */
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

/** Why the mistake cannot be made in the tree at `root`; undefined if each of its places is found exactly once. */
export async function whyNotFound(mutation: Mutation, root: string): Promise<string | undefined> {
  try {
    await filesOf(mutation, root);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Makes the mistake in the tree at `root`; resolves with a function that takes it back. */
export async function apply(mutation: Mutation, root: string): Promise<() => Promise<void>> {
  const { before, after } = await filesOf(mutation, root);
  const write = async (files: ReadonlyMap<string, string>) => {
    for (const [file, text] of files) await writeFile(join(root, file), text);
  };
  await write(after);
  return () => write(before);
}
