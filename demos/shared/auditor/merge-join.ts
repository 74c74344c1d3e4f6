// A merge join: reads several streams of facts once and side by side, each in the order of its ids. Two pages of each are
// in memory: the current one, and the next one, which is requested ahead.
import type { Page } from '../../../contracts/pages.ts';
import { CliError } from '../errors.ts';

export interface Identified {
  readonly id: string;
}
/** Reads the page after that id, or the first one. */
export type ReadPage<T> = (after: string | undefined) => Promise<Page<T>>;

class Stream<T extends Identified> {
  readonly #name: string;
  readonly #read: ReadPage<T>;
  #items: readonly T[] = [];
  #index = 0;
  #coming: Promise<Page<T>> | undefined;

  constructor(name: string, read: ReadPage<T>) {
    this.#name = name;
    this.#read = read;
    this.#coming = this.#fetch(undefined);
  }

  get head(): T | undefined {
    return this.#items[this.#index];
  }

  /** Whether the next page must arrive before there is a head again. */
  get dry(): boolean {
    return this.#index === this.#items.length && this.#coming !== undefined;
  }

  async refill(): Promise<void> {
    const last = this.#items.at(-1)?.id;
    const { items, next } = (await this.#coming) ?? { items: [], next: null };
    this.#coming = next === null ? undefined : this.#fetch(next);
    for (const [index, { id }] of items.entries()) {
      const before = items[index - 1]?.id ?? last;
      if (before !== undefined && id <= before) throw new CliError(`${this.#name}: ${id} comes after ${before}`);
    }
    this.#items = items;
    this.#index = 0;
  }

  drop(): void {
    this.#index++;
  }

  #fetch(after: string | undefined): Promise<Page<T>> {
    const coming = this.#read(after);
    coming.catch(() => undefined); // refill() reports it
    return coming;
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
  const streams = names.map((name) => ({ name, stream: new Stream<Facts[typeof name]>(name, reads[name]) }));
  // Ends, because ids only grow and only the last page can be empty.
  for (;;) {
    let id: string | undefined;
    for (const { stream } of streams) {
      while (stream.dry) await stream.refill();
      const head = stream.head;
      if (head !== undefined && (id === undefined || head.id < id)) id = head.id;
    }
    if (id === undefined) return;
    const facts: Partial<Facts> = {};
    for (const { name, stream } of streams) {
      const head = stream.head;
      if (head?.id !== id) continue;
      facts[name] = head;
      stream.drop();
    }
    visit(id, facts);
  }
}
