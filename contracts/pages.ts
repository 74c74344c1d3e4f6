// Lists answer `{ items, next }`, newest first; `next` is the cursor for `?after=`, null at the end.
import { z } from 'zod';
import { userId, uuid } from './text.ts';

export const pageQuery = z.object({
  limit: z
    .string()
    .regex(/^\d{1,3}$/, 'must be an integer from 1 to 200')
    .transform(Number)
    .pipe(z.int().min(1).max(200))
    .default(50),
  after: uuid.optional(),
});

export const userQuery = pageQuery.extend({ userId });

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next: string | null;
}

/**
 * A page as a client reads it, of at most `most` items. Pages that others follow have items, so a client that reads them
 * all comes to an end.
 */
export const pageSchema = <Item extends z.ZodType>(item: Item, most = 200) =>
  z
    .object({ items: z.array(item).max(most), next: uuid.nullable() })
    .refine((page: Page<unknown>) => page.next === null || page.items.length > 0, {
      path: ['next'],
      message: 'follows an empty page',
    });

/** A page of at most `limit` items out of up to `limit + 1` that were read. `id`: what the items are known by. */
export function pageOf<Item extends { readonly [id in Id]: string }, Id extends string = 'id'>(
  read: readonly Item[],
  limit: number,
  id: Id = 'id' as Id,
): Page<Item> {
  const items = read.slice(0, limit);
  return { items, next: read.length > limit ? (items.at(-1)?.[id] ?? null) : null };
}
