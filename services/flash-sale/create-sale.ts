// Creating a sale, once for each Idempotency-Key. The key is stored in the sale's row, and kept as long as the sale.
import { createHash } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import type { CreateFlashSaleRequest, FlashSale } from '../../contracts/flash-sales.ts';
import type { Database } from '../../infra/database/port.ts';
import type { Actor } from '../../infra/operators/operator-actions.ts';
import { findSale, findSaleByKey, insertSale } from './store/sales.ts';

/**
 * - `replayed`: the sale of an earlier request with this key, as it is now.
 * - `key-reused`: the key belongs to a sale with other terms.
 * - `over`: by the database's clock, the sale would be over already.
 */
export type CreateResult =
  | { readonly outcome: 'created' | 'replayed'; readonly sale: FlashSale }
  | { readonly outcome: 'key-reused' }
  | { readonly outcome: 'over' };

/**
 * Rejects with DatabaseUnavailable; the sale may then have been created; a repeated request with the same key shows
 * whether it was.
 */
export async function createSale(
  database: Database,
  terms: CreateFlashSaleRequest,
  actor: Actor,
  idempotencyKey: string | undefined,
): Promise<CreateResult> {
  const id = uuidv7();
  const requestHash = fingerprint(terms);
  const key = idempotencyKey === undefined ? undefined : { idempotencyKey, requestHash };
  if (await insertSale(database, id, terms, { actor, key }))
    return { outcome: 'created', sale: await existing(database, id) };
  // A repeated request may come when the sale is over.
  const earlier = idempotencyKey === undefined ? undefined : await findSaleByKey(database, idempotencyKey);
  if (!earlier) return { outcome: 'over' };
  return earlier.requestHash === requestHash
    ? { outcome: 'replayed', sale: await existing(database, earlier.id) }
    : { outcome: 'key-reused' };
}

async function existing(database: Database, id: string): Promise<FlashSale> {
  const sale = await findSale(database, id);
  if (!sale) throw new Error(`flash sale ${id} is gone`);
  return sale;
}

/** A hash of the terms, regardless of the order of fields and of how times are written. */
function fingerprint(terms: CreateFlashSaleRequest): string {
  const { sku, name, unitPrice, currency, stock, queueCap, drainPerSecond, holdSeconds, opensAt, closesAt } = terms;
  const required = [sku, name, unitPrice, currency, stock, queueCap, drainPerSecond, holdSeconds];
  const canonical = [...required, opensAt ?? null, closesAt ?? null];
  return createHash('sha256').update(JSON.stringify(canonical)).digest('base64');
}
