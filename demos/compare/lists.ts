// Lists over HTTP, page by page.
import type { z } from 'zod';
import type { Page } from '../../contracts/pages.ts';
import { expectBody, type HttpClient } from '../shared/http.ts';

const PAGE = 200;

export interface List<Item> {
  /** With a query or without, but with no cursor. */
  readonly path: string;
  readonly schema: z.ZodType<Page<Item>>;
}

/** The items after the cursor `after`, newest first. */
export async function readPage<Item>(
  http: HttpClient,
  { path, schema }: List<Item>,
  after: string | undefined,
  signal: AbortSignal,
): Promise<Page<Item>> {
  const query = `limit=${PAGE}${after === undefined ? '' : `&after=${after}`}`;
  const response = await http.request('GET', `${path}${path.includes('?') ? '&' : '?'}${query}`, { signal });
  return expectBody(response, { status: 200, schema, about: path });
}

/** The items of all pages. */
export async function readList<Item>(http: HttpClient, list: List<Item>, signal: AbortSignal): Promise<Item[]> {
  const all: Item[] = [];
  for (let after: string | null | undefined; after !== null; ) {
    const page: Page<Item> = await readPage(http, list, after, signal);
    all.push(...page.items);
    after = page.next;
  }
  return all;
}
