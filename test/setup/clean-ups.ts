// What a test leaves to undo: called after each test of the importing file, the last one first.
import { afterEach } from 'vitest';

export const cleanUps: (() => unknown)[] = [];

/** Undoes everything now, instead of after the test. */
export async function cleanUp(): Promise<void> {
  for (const undo of cleanUps.splice(0).reverse()) await undo();
}

afterEach(cleanUp);
