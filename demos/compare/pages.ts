// The lists of a user, as a client reads them: page by page.
import { z } from 'zod';
import { type Page, pageSchema } from '../../contracts/pages.ts';
import { uuid } from '../../contracts/text.ts';
import { expectBody, type HttpClient } from '../shared/http.ts';

const PAGE = 200;

/** What the comparison reads of each list. */
const lists = {
  orders: pageSchema(z.object({ id: uuid, status: z.string() })),
  points: pageSchema(z.object({ orderId: uuid, kind: z.string(), points: z.number() })),
  coupons: pageSchema(z.object({ orderId: uuid, status: z.string(), amount: z.number(), currency: z.string() })),
  notifications: pageSchema(z.object({ orderId: uuid, kind: z.string(), text: z.string() })),
};
type Lists = typeof lists;
export type ListName = keyof Lists;
export type Item<L extends ListName> = z.infer<Lists[L]>['items'][number];

/** The items after `after` (the `next` of the page before), newest first. */
export async function readPage<L extends ListName>(
  http: HttpClient,
  list: L,
  userId: string,
  after: string | undefined,
  signal: AbortSignal,
): Promise<Page<Item<L>>> {
  const path = list === 'orders' ? `/orders?userId=${userId}&` : `/users/${userId}/${list}?`;
  const cursor = after === undefined ? '' : `&after=${after}`;
  const answer = await http.request('GET', `${path}limit=${PAGE}${cursor}`, { signal });
  return expectBody(answer, { status: 200, schema: lists[list] as z.ZodType<Page<Item<L>>>, about: list });
}

/** All items. */
export async function readList<L extends ListName>(
  http: HttpClient,
  list: L,
  userId: string,
  signal: AbortSignal,
): Promise<Item<L>[]> {
  const all: Item<L>[] = [];
  for (let after: string | null | undefined; after !== null; ) {
    const page = await readPage(http, list, userId, after, signal);
    all.push(...page.items);
    after = page.next;
  }
  return all;
}
