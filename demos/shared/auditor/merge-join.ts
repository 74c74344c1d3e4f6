// A merge join: reads several streams of facts once and side by side, each in the order of its ids. Two pages of each are
// in memory: the current one, and the next one, which is requested ahead.
import type { Page } from '../../../contracts/pages.ts';
import { CliError } from '../errors.ts';

type Identified = { readonly id: string };
/** Reads the page after that id, or the first one. */
export type ReadPage<T> = (after: string | undefined) => Promise<Page<T>>;

async function* inOrder<T extends Identified>(name: string, read: ReadPage<T>): AsyncGenerator<T, undefined> {
  let before = '';
  for (let coming: Promise<Page<T>> | undefined = read(undefined); coming; ) {
    const { items, next }: Page<T> = await coming;
    coming = next === null ? undefined : read(next);
    coming?.catch(() => {}); // reported when this page is needed
    for (const item of items) {
      if (item.id <= before) throw new CliError(`${name}: ${item.id} comes after ${before}`);
      before = item.id;
      yield item;
    }
  }
}

/**
 * Calls `visit` for each id in any of the streams, in the order of the ids, with the facts about it. Rejects if a stream
 * cannot be read or is out of order.
 */
export async function mergeJoin<Facts extends Record<string, Identified>>(
  reads: { readonly [Name in keyof Facts]: ReadPage<Facts[Name]> },
  visit: (id: string, facts: Partial<Facts>) => void,
): Promise<void> {
  const names = Object.keys(reads) as (keyof Facts & string)[];
  const streams = await Promise.all(
    names.map(async (name) => {
      const items = inOrder<Facts[typeof name]>(name, reads[name]);
      return { name, items, head: (await items.next()).value };
    }),
  );
  for (;;) {
    let id: string | undefined;
    for (const { head } of streams) if (head && (id === undefined || head.id < id)) id = head.id;
    if (id === undefined) return;
    const facts: Partial<Facts> = {};
    for (const stream of streams) {
      if (stream.head?.id !== id) continue;
      facts[stream.name] = stream.head;
      stream.head = (await stream.items.next()).value;
    }
    visit(id, facts);
  }
}
