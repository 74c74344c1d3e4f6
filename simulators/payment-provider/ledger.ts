// The simulated provider's ledger: the charge and the cancellation of each key. The ledger is in memory, at a few hundred
// bytes per key, and in a journal that is written before the provider responds.
import { join } from 'node:path';
import { z } from 'zod';
import { currency } from '../../contracts/money.ts';
import type { LedgerEntry } from '../../contracts/payments.ts';
import { instant, uuid } from '../../contracts/text.ts';
import { lockDataDir } from '../../infra/runtime/data-dir.ts';
import type { Charge, ChargeOutcome } from '../../services/order/payments/port.ts';
import { Journal } from './journal.ts';

const record = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('charged'), orderId: uuid, amount: z.int(), currency, at: instant }),
  z.object({ kind: z.literal('cancelled'), orderId: uuid, at: instant }),
]);
type Entry = z.infer<typeof record>;

/** The key was charged with another amount or currency. */
export class KeyReused extends Error {
  readonly code = 'key-reused';
}

export class Ledger {
  readonly #accounts = new Map<string, { charge?: Charge & { at: string }; cancelledAt?: string }>();
  /** The keys, oldest first, for paging; and the index of each. */
  readonly #keys: string[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #deciding = new Map<string, { readonly charge: Charge; readonly outcome: Promise<ChargeOutcome> }>();
  readonly #queues = new Map<string, Promise<unknown>>();
  #journal: Journal | undefined;
  #unlock: (() => Promise<void>) | undefined;

  private constructor() {}

  /** Reads the folder's journal. Rejects with DataDirInUse if another process uses the folder. */
  static async open(folder: string): Promise<Ledger> {
    const ledger = new Ledger();
    ledger.#unlock = await lockDataDir(folder);
    try {
      ledger.#journal = await Journal.open(join(folder, 'journal.ndjson'), (line) => ledger.#apply(record.parse(line)));
    } catch (error) {
      await ledger.#unlock();
      throw error;
    }
    return ledger;
  }

  /**
   * `decide` resolves with whether the charge is approved. Equal concurrent charges share one decision; a settled key
   * is not decided again. Rejects with KeyReused.
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
      if (this.#accounts.get(orderId)?.cancelledAt === undefined)
        await this.#write({ kind: 'cancelled', orderId, at: new Date().toISOString() });
    });
  }

  read(orderId: string): LedgerEntry | undefined {
    const account = this.#accounts.get(orderId);
    if (!account) return undefined;
    const { charge, cancelledAt } = account;
    return {
      orderId,
      status: cancelledAt === undefined ? 'charged' : charge ? 'refunded' : 'cancelled',
      ...(charge && { amount: charge.amount, currency: charge.currency, chargedAt: charge.at }),
      ...(cancelledAt !== undefined && { cancelledAt }),
    };
  }

  /** Up to `limit` entries, newest first; `after` is the last key of the page before. */
  page(limit: number, after?: string): LedgerEntry[] {
    const end = after === undefined ? this.#keys.length : (this.#indexes.get(after) ?? 0);
    return this.#keys
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
      // The key may have been cancelled during the decision.
      const settledNow = this.#settled(charge);
      if (settledNow) return settledNow;
      if (!approved) return 'declined';
      const { orderId, amount, currency } = charge;
      await this.#write({ kind: 'charged', orderId, amount, currency, at: new Date().toISOString() });
      return 'approved';
    });
  }

  #settled(charge: Charge): ChargeOutcome | undefined {
    const account = this.#accounts.get(charge.orderId);
    if (account?.cancelledAt !== undefined) return 'declined';
    if (!account?.charge) return undefined;
    const { amount, currency } = account.charge;
    if (!isSame(account.charge, charge)) throw new KeyReused(`charged with ${amount} ${currency}`);
    return 'approved';
  }

  async #write(entry: Entry): Promise<void> {
    await this.#journal?.append(entry);
    this.#apply(entry);
  }

  #apply(entry: Entry): void {
    const { orderId, at } = entry;
    const account = this.#accounts.get(orderId);
    if (!account) this.#indexes.set(orderId, this.#keys.push(orderId) - 1);
    this.#accounts.set(orderId, {
      ...account,
      ...(entry.kind === 'charged' ? { charge: entry } : { cancelledAt: at }),
    });
  }

  /** Runs the work of one key one after the other, because reading and writing are two steps. */
  async #inTurn<T>(orderId: string, work: () => Promise<T>): Promise<T> {
    const last = (this.#queues.get(orderId) ?? Promise.resolve()).then(work, work);
    this.#queues.set(orderId, last);
    try {
      return await last;
    } finally {
      if (this.#queues.get(orderId) === last) this.#queues.delete(orderId);
    }
  }
}

const isSame = (a: Charge, b: Charge) => a.amount === b.amount && a.currency === b.currency;
