// Admission to flash sales: a sale's row decides about purchases, in batches of the requests that wait together. In a
// flood, a snapshot of the sale rejects most requests before they reach the row.
//
// For each sale with a request in the last minute, memory holds at most 5,000 waiting requests, and a Bloom filter of
// its ticket holders of up to 1 MiB.
import { v7 as uuidv7 } from 'uuid';
import type { FlashSaleStatus, Rejection } from '../../contracts/flash-sales.ts';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import { Overloaded } from '../../infra/database/port.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import type { ServiceContext } from '../../infra/runtime/service.ts';
import { failpoint } from './failpoints.ts';
import { retryAfterSeconds, type Snapshot } from './flash-sale.ts';
import { RejectionCounter } from './rejection-counter.ts';
import { SaleSnapshot } from './sale-snapshot.ts';
import { admit, type Decision, peek, type TicketRequest } from './store/sales.ts';

/** Requests in one transaction. */
const MAX_BATCH = 500;
/** Requests to one sale that may wait; a further one is rejected with Overloaded. */
const MAX_WAITING = 5_000;
const STORE_REJECTIONS_MS = 250;
/** A sale without requests for this long is forgotten. */
const IDLE_MS = 60_000;

export interface RejectedPurchase {
  readonly outcome: Rejection;
  /** The sale's status. */
  readonly status: FlashSaleStatus;
  /** Whole seconds until another attempt is worthwhile; undefined if that is unknown. */
  readonly retryAfterSeconds: number | undefined;
}

export interface PurchaseAttempt {
  readonly saleId: string;
  readonly userId: string;
  /** Identifies the attempt. */
  readonly request: object;
}

interface Options extends Pick<ServiceContext<unknown>, 'database' | 'log'> {
  /** Tickets were committed. */
  readonly onAdmitted: () => void;
  /** A purchase came before its sale opens. */
  readonly onEarly?: (opensInMs: number) => void;
  /** A purchase was decided, by the sale's row or by a snapshot of it. */
  readonly onDecision: (outcome: Decision['outcome'], by: 'row' | 'snapshot') => void;
}

type HeldTicket = Exclude<Decision, { ticketId: null }>;

interface Sale {
  readonly snapshot: SaleSnapshot;
  readonly requests: GroupCommit<TicketRequest, Decision | undefined>;
}

export class SaleAdmission {
  readonly #options: Options;
  /** Sales that exist; an id that belongs to none is in here only while it is being looked up. */
  readonly #sales = new Map<string, Sale>();
  readonly #rejections: RejectionCounter;
  readonly #loop: Loop;

  constructor(options: Options) {
    this.#options = options;
    this.#rejections = new RejectionCounter(options.database.background, options.log);
    this.#loop = new Loop({
      name: 'store rejections',
      everyMs: STORE_REJECTIONS_MS,
      log: options.log,
      turn: async () => {
        this.#rejections.flush();
        for (const [saleId, { snapshot }] of this.#sales) if (snapshot.idleMs > IDLE_MS) this.#sales.delete(saleId);
        return false;
      },
    });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#rejections.stop();
  }

  /** Rejects a purchase from memory alone; undefined if the row has to decide: then call decide() or returnAttempt(). */
  reject({ saleId, userId, request }: PurchaseAttempt): RejectedPurchase | undefined {
    const snapshot = this.#sales.get(saleId)?.snapshot;
    const rejection = snapshot?.reject(userId, request);
    if (!rejection || !snapshot?.latest) return undefined;
    this.#options.onDecision(rejection, 'snapshot');
    return this.#rejected(saleId, rejection, snapshot.latest);
  }

  /** The purchase was shed before decide(). Another buyer may try in its place. */
  returnAttempt({ saleId, request }: Pick<PurchaseAttempt, 'saleId' | 'request'>): void {
    this.#sales.get(saleId)?.snapshot.returnAttempt(request);
  }

  /**
   * The row's decision; undefined if there is no such sale. The promise rejects with DatabaseUnavailable or Overloaded:
   * then the buyer may or may not hold a ticket, and sending the same request again is safe.
   */
  async decide(attempt: PurchaseAttempt): Promise<HeldTicket | RejectedPurchase | undefined> {
    const { saleId, userId } = attempt;
    const sale = this.#sales.get(saleId) ?? this.#open(saleId);
    let decision: Decision | undefined;
    try {
      decision = await sale.requests.submit({ ticketId: uuidv7(), userId });
    } catch (error) {
      if (error instanceof Overloaded) this.returnAttempt(attempt);
      throw error;
    } finally {
      if (!decision && !sale.snapshot.latest) this.#sales.delete(saleId);
    }
    if (!decision) return undefined;
    this.#options.onDecision(decision.outcome, 'row');
    if (decision.ticketId !== null) return decision;
    const snapshot = await sale.snapshot.read();
    if (!snapshot) throw new Error(`sale ${saleId} no longer exists`);
    return this.#rejected(saleId, decision.outcome, snapshot);
  }

  #rejected(saleId: string, outcome: Rejection, snapshot: Snapshot): RejectedPurchase {
    if (snapshot.status === 'scheduled') this.#options.onEarly?.(snapshot.opensInMs);
    this.#rejections.add(saleId, outcome);
    return { outcome, status: snapshot.status, retryAfterSeconds: retryAfterSeconds(outcome, snapshot, Math.random()) };
  }

  #open(saleId: string): Sale {
    const { database, log } = this.#options;
    const snapshot = new SaleSnapshot({
      peek: (after) => peek(database, saleId, after),
      onError: (error) => log.debug({ sale: saleId, error: String(error) }, 'snapshot of the sale not refreshed'),
    });
    const requests = new GroupCommit<TicketRequest, Decision | undefined>({
      run: (batch) => this.#commit(saleId, snapshot, batch),
      key: () => '', // one row, first come, first served
      maxBatch: MAX_BATCH,
      maxWaiting: MAX_WAITING,
    });
    const sale = { snapshot, requests };
    this.#sales.set(saleId, sale);
    return sale;
  }

  async #commit(saleId: string, snapshot: SaleSnapshot, batch: readonly TicketRequest[]) {
    failpoint('admission.before-commit');
    const decisions = await admit(this.#options.database, saleId, batch);
    failpoint('admission.after-commit');
    for (const [index, { userId }] of batch.entries())
      if (decisions[index]?.outcome === 'admitted') snapshot.addHolder(userId);
    if (decisions.some(({ outcome }) => outcome === 'admitted')) this.#options.onAdmitted();
    return decisions.length === 0 ? batch.map(() => undefined) : decisions; // none: there is no such sale
  }
}
