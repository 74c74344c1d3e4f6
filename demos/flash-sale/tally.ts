// What the buyers were answered, counted here and nowhere else: it is held against the sale's own books at the end.
import {
  type PurchaseAnswer,
  type PurchaseOutcome,
  purchaseOutcomes,
  type RejectedOutcome,
} from './purchase-outcome.ts';

/** One outcome's answers, two numbers each; in milliseconds, `atMs` after the opening. */
export interface Answers {
  readonly atMs: readonly number[];
  /** From the moment that the buyer came: the time in this client counts. */
  readonly latencyMs: readonly number[];
}

export interface TicketSeen {
  readonly ticketId: string;
  /** Index of the buyer. */
  readonly buyer: number;
  /** When the buyer came with the attempt that was admitted, after the opening; undefined: that answer was lost. */
  readonly arrivedMs: number | undefined;
}

/** How it ended for a buyer: `admitted`, or the last reason why not. */
export type Ending = 'admitted' | RejectedOutcome | 'error';

export class Tally {
  #sent = 0;
  readonly #arrivals = { first: [] as number[], again: [] as number[] };
  readonly #answers: Record<PurchaseOutcome, { atMs: number[]; latencyMs: number[] }>;
  readonly #tickets = new Map<string, TicketSeen>();
  readonly #endings: (Ending | undefined)[];
  readonly #errors = new Map<string, number>();
  readonly #uncertain = new Set<number>();
  #sharedTickets = 0;
  #longestQueue = 0;
  #longestWaitMs = 0;

  constructor(buyers: number) {
    this.#endings = new Array(buyers).fill(undefined);
    this.#answers = Object.fromEntries(
      purchaseOutcomes.map((outcome) => [outcome, { atMs: [] as number[], latencyMs: [] as number[] }]),
    ) as Record<PurchaseOutcome, { atMs: number[]; latencyMs: number[] }>;
  }

  /** A request leaves, for a buyer who came at `arrivedMs`. */
  send(arrivedMs: number, again: boolean): void {
    this.#sent++;
    this.#arrivals[again ? 'again' : 'first'].push(arrivedMs);
  }

  answer(buyer: number, answer: PurchaseAnswer, arrivedMs: number, atMs: number, waitedMs: number): void {
    const { outcome } = answer;
    this.#answers[outcome].atMs.push(atMs);
    this.#answers[outcome].latencyMs.push(atMs - arrivedMs);
    this.#longestWaitMs = Math.max(this.#longestWaitMs, waitedMs);
    if (outcome === 'admitted' || outcome === 'already') {
      this.#uncertain.delete(buyer);
      this.#endings[buyer] = 'admitted';
      this.#seeTicket(answer.ticketId, buyer, outcome === 'admitted' ? arrivedMs : undefined);
      this.#longestQueue = Math.max(this.#longestQueue, answer.position);
      return;
    }
    if (this.#endings[buyer] !== 'admitted') {
      this.#endings[buyer] = outcome;
      if (outcome === 'error' && answer.lost) this.#uncertain.add(buyer);
    }
    if (outcome === 'error') this.#errors.set(answer.message, (this.#errors.get(answer.message) ?? 0) + 1);
  }

  #seeTicket(ticketId: string, buyer: number, arrivedMs: number | undefined): void {
    const known = this.#tickets.get(ticketId);
    if (known && known.buyer !== buyer) this.#sharedTickets++;
    else this.#tickets.set(ticketId, { ticketId, buyer, arrivedMs: arrivedMs ?? known?.arrivedMs });
  }

  /**
   * Buyers who lost an answer and know of no ticket: the request may have been decided after they had given it up, and
   * after they were rejected on another one. Each is named once.
   */
  takeUncertain(): number[] {
    const buyers = [...this.#uncertain];
    this.#uncertain.clear();
    return buyers;
  }

  /** Requests that left. */
  get sent(): number {
    return this.#sent;
  }

  /** When requests left, after the opening: for a buyer's first attempt of a visit, and for further ones. */
  get arrivals(): { readonly first: readonly number[]; readonly again: readonly number[] } {
    return this.#arrivals;
  }

  answersOf(outcome: PurchaseOutcome): Answers {
    return this.#answers[outcome];
  }

  countOf(outcome: PurchaseOutcome): number {
    return this.#answers[outcome].atMs.length;
  }

  /** Every ticket that a buyer was told of, once. */
  get tickets(): ReadonlyMap<string, TicketSeen> {
    return this.#tickets;
  }

  /** Answers with a ticket that another buyer had been given. */
  get sharedTickets(): number {
    return this.#sharedTickets;
  }

  /** Buyers by how it ended for them. */
  endings(): Record<Ending, number> {
    const counts = { admitted: 0, 'queue-full': 0, 'sold-out': 0, 'not-open': 0, overloaded: 0, error: 0 };
    for (const ending of this.#endings) counts[ending ?? 'error']++;
    return counts;
  }

  /** By position: an admission says how long the queue is, including the new request. */
  get longestQueue(): number {
    return this.#longestQueue;
  }

  /** The longest that a request waited for a free connection of this client. */
  get longestWaitMs(): number {
    return this.#longestWaitMs;
  }

  /** The most frequent first. */
  get errors(): { readonly message: string; readonly count: number }[] {
    return [...this.#errors].map(([message, count]) => ({ message, count })).sort((a, b) => b.count - a.count);
  }
}
