// Lists return `{ items, next }`, newest first; lists of facts are in ascending order of their ids. `next` is the
// cursor for `?after=`, or null on the last page.
import { z } from 'zod';
import { integerText, userId, uuid } from './text.ts';

/** Strict, because a list without a misspelt filter is another list. */
export const pageQuery = z.strictObject({
  limit: integerText(1, 200).default(50),
  after: z.uuid('must be the cursor `next` of another page').toLowerCase().optional(),
});

export const userQuery = pageQuery.extend({ userId });

export const WITH_NEXT = 'A page with a `next` has at least one item.';

/**
 * A page of at most `maxItems` items. A page with a `next` has at least one item, so a client that follows `next`
 * reaches the end.
 */
export const pageSchema = <Item extends z.ZodType>(item: Item, maxItems = 200) =>
  z
    .object({ items: z.array(item).max(maxItems), next: uuid.nullable() })
    .refine(({ items, next }) => next === null || items.length > 0, {
      path: ['next'],
      message: 'follows an empty page',
    })
    .describe(WITH_NEXT);

export type Page<Item> = z.infer<ReturnType<typeof pageSchema<z.ZodType<Item>>>>;

/** A page of at most `limit` items, out of up to `limit + 1` that were read. The last item's `id` is the cursor. */
export function pageOf<Item extends { readonly [id in Id]: string }, Id extends string = 'id'>(
  read: readonly Item[],
  limit: number,
  id: Id = 'id' as Id,
): { items: Item[]; next: string | null } {
  const items = read.slice(0, limit);
  return { items, next: read.length > limit ? (items.at(-1)?.[id] ?? null) : null };
}
