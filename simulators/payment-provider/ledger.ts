// The simulated provider's ledger: what is charged and what is given back, per key. Kept in memory, some hundred bytes a
// key, and in a journal that is written before anything is said.
import { join } from 'node:path';
import { z } from 'zod';
import { currency } from '../../contracts/money.ts';
import type { LedgerEntry } from '../../contracts/payments.ts';
import { instant, uuid } from '../../contracts/text.ts';
import { lockDataDir } from '../../infra/runtime/data-dir.ts';
import type { Charge, ChargeOutcome } from '../../services/order/payments/port.ts';
import { type Journal, openJournal } from './journal.ts';

const record = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('charged'), orderId: uuid, amount: z.int(), currency, at: instant }),
  z.object({ kind: z.literal('cancelled'), orderId: uuid, at: instant }),
]);
type Entry = z.infer<typeof record>;

/** The key is charged with another amount or currency. */
export class KeyReused extends Error {
  readonly code = 'key-reused';
}

interface Key {
  readonly charge?: Charge & { readonly at: string };
  readonly cancelledAt?: string;
}

export class Ledger {
  readonly #keys = new Map<string, Key>();
  /** Every key in the order in which it was first written, for paging. */
  readonly #order: string[] = [];
  readonly #places = new Map<string, number>();
  readonly #deciding = new Map<string, { readonly charge: Charge; readonly outcome: Promise<ChargeOutcome> }>();
  readonly #turns = new Map<string, Promise<unknown>>();
  #journal: Journal | undefined;
  #unlock: (() => Promise<void>) | undefined;

  private constructor() {}

  /** Reads back what the folder holds. Rejects with DataDirInUse where another process uses it. */
  static async open(folder: string): Promise<Ledger> {
    const ledger = new Ledger();
    ledger.#unlock = await lockDataDir(folder);
    try {
      ledger.#journal = await openJournal(join(folder, 'journal.ndjson'), (line) => ledger.#apply(record.parse(line)));
    } catch (error) {
      await ledger.#unlock();
      throw error;
    }
    return ledger;
  }

  /**
   * `decide` answers whether a charge is approved, after whatever time; it is asked once for all who ask for the same
   * charge meanwhile, and not at all for what is settled already. Rejects with KeyReused.
   */
  charge(charge: Charge, decide: () => Promise<boolean>): Promise<ChargeOutcome> {
    const { orderId } = charge;
    const shared = this.#deciding.get(orderId);
    if (shared && isSame(shared.charge, charge)) return shared.outcome;
    const outcome = this.#decide(charge, decide).finally(() => {
      if (this.#deciding.get(orderId)?.outcome === outcome) this.#deciding.delete(orderId);
    });
    this.#deciding.set(orderId, { charge, outcome });
    return outcome;
  }

  async cancel(orderId: string): Promise<void> {
    await this.#inTurn(orderId, async () => {
      if (this.#keys.get(orderId)?.cancelledAt === undefined)
        await this.#write({ kind: 'cancelled', orderId, at: new Date().toISOString() });
    });
  }

  read(orderId: string): LedgerEntry | undefined {
    const key = this.#keys.get(orderId);
    if (!key) return undefined;
    const { charge, cancelledAt } = key;
    return {
      orderId,
      status: cancelledAt === undefined ? 'charged' : charge ? 'returned' : 'cancelled',
      ...(charge && { amount: charge.amount, currency: charge.currency, chargedAt: charge.at }),
      ...(cancelledAt !== undefined && { cancelledAt }),
    };
  }

  /** Up to `limit` keys, newest first; `after` is the last one of the page before. */
  page(limit: number, after?: string): LedgerEntry[] {
    const end = after === undefined ? this.#order.length : (this.#places.get(after) ?? 0);
    return this.#order
      .slice(Math.max(0, end - limit), end)
      .reverse()
      .flatMap((orderId) => this.read(orderId) ?? []);
  }

  async close(): Promise<void> {
    await this.#journal?.close();
    await this.#unlock?.();
  }

  async #decide(charge: Charge, decide: () => Promise<boolean>): Promise<ChargeOutcome> {
    const settled = this.#settled(charge);
    if (settled) return settled;
    const approved = await decide();
    return this.#inTurn(charge.orderId, async () => {
      // It may have been cancelled meanwhile.
      const now = this.#settled(charge);
      if (now) return now;
      if (!approved) return 'declined';
      const { orderId, amount, currency } = charge;
      await this.#write({ kind: 'charged', orderId, amount, currency, at: new Date().toISOString() });
      return 'approved';
    });
  }

  #settled(charge: Charge): ChargeOutcome | undefined {
    const key = this.#keys.get(charge.orderId);
    if (key?.cancelledAt !== undefined) return 'declined';
    if (!key?.charge) return undefined;
    if (!isSame(key.charge, charge)) throw new KeyReused(`charged with ${key.charge.amount} ${key.charge.currency}`);
    return 'approved';
  }

  async #write(entry: Entry): Promise<void> {
    await this.#journal?.append(entry);
    this.#apply(entry);
  }

  #apply(entry: Entry): void {
    const { orderId, at } = entry;
    if (!this.#keys.has(orderId)) this.#places.set(orderId, this.#order.push(orderId) - 1);
    const key = this.#keys.get(orderId);
    this.#keys.set(orderId, entry.kind === 'charged' ? { ...key, charge: entry } : { ...key, cancelledAt: at });
  }

  /** One after the other for each key, as looking and writing are two steps. */
  async #inTurn<T>(orderId: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(orderId) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#turns.set(orderId, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(orderId) === turn) this.#turns.delete(orderId);
    }
  }
}

const isSame = (a: Charge, b: Charge) => a.amount === b.amount && a.currency === b.currency;
