// The gate of one sale in this process. The sale's row decides; the gate brings it the requests that wait together as
// one batch, and rejects a flood of newcomers by a hint, without touching anything.
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import type { FlashSaleStatus, Rejection } from '../../contracts/flash-sales.ts';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import type { Database } from '../../infra/database/port.ts';
import { failpoint } from './failpoints.ts';
import { retryAfterSeconds } from './flash-sale.ts';
import { Hint, keptForMs, type Seen } from './hint.ts';
import { admit, type Decision, type Glance, glance } from './store/sales.ts';
import { UserFilter } from './user-filter.ts';

/** Requests in one transaction, and requests that may wait for theirs; a further one is told to come back later. */
const MAX_BATCH = 500;
const MAX_WAITING = 5_000;
/** Users of new tickets that one glance reads. */
const MAX_USERS = 10_000;

export interface RejectedPurchase {
  readonly outcome: Rejection;
  /** Of the sale. */
  readonly status: FlashSaleStatus;
  /** When to come back, in whole seconds; undefined where nobody knows. */
  readonly retryAfterSeconds: number | undefined;
}

export type Decided =
  | { readonly outcome: 'admitted'; readonly ticketId: string; readonly position: number }
  | { readonly outcome: 'yours'; readonly ticketId: string }
  | RejectedPurchase;

export interface GateOptions {
  readonly database: Database;
  readonly saleId: string;
  /** Tickets were committed. */
  readonly onAdmitted: (count: number) => void;
  /** A request was rejected; the sale exists. */
  readonly onRejected: (reason: Rejection) => void;
  readonly log: Logger;
}

export class Gate {
  readonly #options: GateOptions;
  readonly #commits: GroupCommit<{ readonly ticketId: string; readonly userId: string }, Decision | undefined>;
  #seen: Seen | undefined;
  #hint: Hint | undefined;
  /** Everyone who got one of the tickets up to number `#known`. */
  #holders: UserFilter | undefined;
  #known = 0;
  #glancing: Promise<void> | undefined;
  #lastUsed = performance.now();

  constructor(options: GateOptions) {
    this.#options = options;
    this.#commits = new GroupCommit({
      run: (batch) => this.#commit(batch),
      key: () => '', // one row, and first come, first served
      maxBatch: MAX_BATCH,
      maxWaiting: MAX_WAITING,
    });
  }

  /** How long nobody has asked, in milliseconds. */
  get idleMs(): number {
    return performance.now() - this.#lastUsed;
  }

  /** The rejection of a newcomer, while it is known that there is no room; undefined: the row must be asked. */
  reject(userId: string): RejectedPurchase | undefined {
    const now = performance.now();
    if (this.#hint && now - this.#lastUsed >= keptForMs(this.#hint.seen)) this.#hint = undefined;
    this.#lastUsed = now;
    if (!this.#hint || this.#hint.isStale(now)) this.#lookAgain();
    if (!this.#hint || this.#holders?.mayHave(userId)) return undefined;
    const rejection = this.#hint.rejection(now);
    return rejection && this.#rejectedAs(rejection, this.#hint.seen);
  }

  /**
   * The row's decision; undefined where there is no such sale. Rejects with DatabaseUnavailable or Overloaded: then it
   * is not known whether there is a ticket, and asking again tells.
   */
  async decide(userId: string): Promise<Decided | undefined> {
    const decision = await this.#commits.submit({ ticketId: uuidv7(), userId });
    if (!decision) return undefined;
    const { outcome, ticket_id: ticketId, position } = decision;
    if (outcome === 'admitted' && ticketId !== null && position !== null) return { outcome, ticketId, position };
    if (outcome === 'yours' && ticketId !== null) return { outcome, ticketId };
    if (outcome === 'admitted' || outcome === 'yours') throw new Error(`the row decided ${outcome} without a ticket`);
    // What was seen may be from before the sale opened or closed. Should the database be away by now, it has to do.
    if (!this.#hint || this.#hint.isStale(performance.now()))
      await this.#glance().catch((error) => {
        if (!this.#seen) throw error;
      });
    if (!this.#seen) throw new Error('the sale is gone');
    return this.#rejectedAs(outcome, this.#seen);
  }

  /** Whether the sale is known to exist. */
  get hasSeen(): boolean {
    return this.#seen !== undefined;
  }

  #rejectedAs(outcome: Rejection, seen: Seen): RejectedPurchase {
    this.#options.onRejected(outcome);
    return { outcome, status: seen.status, retryAfterSeconds: retryAfterSeconds(outcome, seen, Math.random()) };
  }

  async #commit(batch: readonly { readonly ticketId: string; readonly userId: string }[]) {
    const { database, saleId, onAdmitted } = this.#options;
    failpoint('admission.before-commit');
    const decisions = await admit(database, saleId, batch);
    failpoint('admission.after-commit');
    let admitted = 0;
    for (const [index, { userId }] of batch.entries()) {
      if (decisions[index]?.outcome !== 'admitted') continue;
      admitted++;
      this.#holders?.add(userId); // a glance under way may have looked before
    }
    if (admitted > 0) onAdmitted(admitted);
    return decisions.length === 0 ? batch.map(() => undefined) : decisions; // none at all: there is no such sale
  }

  #lookAgain(): void {
    const { saleId, log } = this.#options;
    this.#glance().catch((error) => log.debug({ sale: saleId, error: String(error) }, 'no new hint'));
  }

  #glance(): Promise<void> {
    this.#glancing ??= this.#look().finally(() => {
      this.#glancing = undefined;
    });
    return this.#glancing;
  }

  async #look(): Promise<void> {
    const { database, saleId } = this.#options;
    // Ends, as each round reads up to MAX_USERS tickets, more than all gateways together admit in the time of a round.
    for (;;) {
      const lookedAt = performance.now();
      const row = await glance(database, saleId, this.#known, MAX_USERS);
      if (!row) return;
      this.#holders ??= new UserFilter(row.stock);
      for (const user of row.users) this.#holders.add(user);
      this.#known += row.users.length; // numbers have no gaps
      // Only with every holder known up to that moment does a rejection meet none of them. Where tickets are missing from
      // the table, nobody is rejected without being asked about.
      if (this.#known < row.admitted && row.users.length > 0) continue;
      this.#seen = seenOf(row);
      this.#hint = this.#known < row.admitted ? undefined : new Hint(this.#seen, lookedAt);
      return;
    }
  }
}

const seenOf = (row: Glance): Seen => ({
  status: row.status,
  remaining: row.remaining,
  queued: row.queued,
  queueCap: row.queue_cap,
  drainPerSecond: row.drain_per_second,
  opensInMs: row.opens_in_ms,
});
