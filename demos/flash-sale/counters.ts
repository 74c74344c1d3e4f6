// The responses to the buyers, counted by the simulator: an independent check of the sale's own totals.
import { recordOf } from '../shared/record-of.ts';
import { outcomesWithoutTicket, type PurchaseOutcome, type PurchaseResponse, purchaseOutcomes } from './purchases.ts';

export interface TicketSeen {
  readonly ticketId: string;
  /** Index of the buyer. */
  readonly buyer: number;
  /** The arrival with the admitted attempt, after the opening; undefined: that response was lost. */
  readonly arrivedMs: number | undefined;
}

/** A buyer's final outcome: `admitted`, or the reason of the last rejection. */
const endings = ['admitted', ...outcomesWithoutTicket, 'error'] as const;

export class Counters {
  /** When requests were due, after the opening: for the first attempt of a visit, and for further ones. */
  readonly arrivals = { first: [] as number[], again: [] as number[] };
  /** By request: how long after its planned time it left, because this client was busy. */
  readonly sendDelayMs: number[] = [];
  /**
   * Of each response with an outcome: when it came, after the opening, and the time from the buyer's arrival, in this
   * client.
   */
  readonly responses = recordOf(purchaseOutcomes, () => ({ atMs: [] as number[], latencyMs: [] as number[] }));
  /** Every ticket that a buyer was told of, once. */
  readonly tickets = new Map<string, TicketSeen>();
  readonly #endings: (typeof endings)[number][];
  readonly #errors = new Map<string, number>();
  readonly #uncertain = new Set<number>();
  /** Responses with a ticket of another buyer. */
  sharedTickets = 0;
  /** The highest position of an admission, which is the queue's length with the new request. */
  longestQueue = 0;
  /** The longest wait of a request for a free connection of this client. */
  longestWaitMs = 0;

  constructor(buyers: number) {
    this.#endings = new Array(buyers).fill('error');
  }

  /** A request that was planned for the buyer's arrival leaves, after a delay in this client. */
  send(arrivedMs: number, again: boolean, delayMs: number): void {
    this.arrivals[again ? 'again' : 'first'].push(arrivedMs);
    this.sendDelayMs.push(delayMs);
  }

  add(buyer: number, response: PurchaseResponse, times: { arrivedMs: number; atMs: number; waitedMs: number }): void {
    const { arrivedMs, atMs, waitedMs } = times;
    const { outcome } = response;
    this.responses[outcome].atMs.push(atMs);
    this.responses[outcome].latencyMs.push(atMs - arrivedMs);
    this.longestWaitMs = Math.max(this.longestWaitMs, waitedMs);
    if (outcome === 'admitted' || outcome === 'already-admitted') {
      this.#uncertain.delete(buyer);
      this.#endings[buyer] = 'admitted';
      this.#seeTicket(response.ticketId, buyer, outcome === 'admitted' ? arrivedMs : undefined);
      this.longestQueue = Math.max(this.longestQueue, response.position);
      return;
    }
    if (this.#endings[buyer] !== 'admitted') {
      this.#endings[buyer] = outcome;
      if (outcome === 'error' && response.lost) this.#uncertain.add(buyer);
    }
    if (outcome === 'error') this.#errors.set(response.message, (this.#errors.get(response.message) ?? 0) + 1);
  }

  #seeTicket(ticketId: string, buyer: number, arrivedMs: number | undefined): void {
    const known = this.tickets.get(ticketId);
    if (known && known.buyer !== buyer) this.sharedTickets++;
    else this.tickets.set(ticketId, { ticketId, buyer, arrivedMs: arrivedMs ?? known?.arrivedMs });
  }

  /**
   * Buyers who lost a response and know of no ticket, each once: the server may have decided the request after the
   * client gave it up, and after another one was rejected.
   */
  takeUncertain(): number[] {
    const buyers = [...this.#uncertain];
    this.#uncertain.clear();
    return buyers;
  }

  get sent(): number {
    return this.arrivals.first.length + this.arrivals.again.length;
  }

  countOf(outcome: PurchaseOutcome): number {
    return this.responses[outcome].atMs.length;
  }

  /** Buyers by final outcome. */
  endings() {
    return recordOf(endings, (ending) => this.#endings.filter((each) => each === ending).length);
  }

  /** The most frequent first. */
  get errors(): { readonly message: string; readonly count: number }[] {
    return [...this.#errors].map(([message, count]) => ({ message, count })).sort((a, b) => b.count - a.count);
  }
}
