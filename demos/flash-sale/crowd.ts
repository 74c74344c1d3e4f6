// Sends the buyers at their times, however the server responds (an open loop), and again when they decide to come
// again.
import { EventEmitter, once } from 'node:events';
import { backoff } from '../../infra/runtime/backoff.ts';
import { Agenda } from './agenda.ts';
import type { Plan, Random } from './arrivals.ts';
import type { Counters } from './counters.ts';
import type { PurchaseClient, PurchaseResponse } from './purchases.ts';

/** The events of one visit so far. */
interface History {
  /** Times that the buyer came again because the queue was full. */
  readonly returned: number;
  /** Attempts in a row without a decision: no response, or 503. */
  readonly failures: number;
}

interface Request {
  readonly buyer: number;
  readonly again: boolean;
  readonly history: History;
}

export interface CrowdOptions {
  readonly buyers: Plan['buyers'];
  readonly client: PurchaseClient;
  readonly saleId: string;
  readonly counters: Counters;
  /** The moment of the opening, by performance.now(). */
  readonly openingAt: number;
  readonly random: Random;
}

export class Crowd {
  readonly #options: CrowdOptions;
  readonly #agenda = new Agenda<Request>((request, at) => this.#send(request, at - this.#options.openingAt));
  readonly #events = new EventEmitter<{ left: [] }>();
  #pending = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
  }

  /** Resolves when every visitor has a ticket or has left. Rejects when `signal` aborts. */
  async run(visits: Plan['visits'], signal: AbortSignal): Promise<void> {
    const left = once(this.#events, 'left', { signal });
    this.#pending = visits.length;
    for (const { buyer, atMs, again = false } of visits)
      this.#agenda.add(this.#options.openingAt + atMs, { buyer, again, history: { returned: 0, failures: 0 } });
    try {
      await left;
    } finally {
      this.#pending = 0;
      this.#agenda.clear();
    }
  }

  #send({ buyer, again, history }: Request, arrivedMs: number): void {
    const { buyers, client, saleId, counters, openingAt, random } = this.#options;
    const visitor = buyers[buyer];
    if (!visitor) throw new RangeError(`there is no buyer ${buyer}`);
    counters.send(arrivedMs, again, performance.now() - openingAt - arrivedMs);
    client.buy(saleId, visitor.userId, (response, waitedMs) => {
      const nowMs = performance.now() - openingAt;
      counters.add(buyer, response, { arrivedMs, atMs: nowMs, waitedMs });
      if (this.#pending === 0) return; // aborted
      const next = nextVisit(response, visitor, { history, arrivedMs, nowMs }, random());
      if (next) this.#agenda.add(openingAt + next.atMs, { buyer, again: true, history: next.history });
      else if (--this.#pending === 0) this.#events.emit('left');
    });
  }
}

/** The longest Retry-After that a buyer accepts; a longer one makes the buyer leave. */
const LONGEST_WAIT_MS = 30_000;
/** Buyers do not come back to the millisecond. */
const LATE_BY_UP_TO_MS = 500;
const NOT_OPEN_PAUSE_MS = 1_000;
/** A retry after a lost response needs no patience: it is the same request. */
const MAX_FAILURES = 10;
const FAILURE_BASE_MS = 200;
const FAILURE_MAX_MS = 3_000;

/** When the buyer comes again; undefined: never. Times are milliseconds after the opening; `random` is from 0 to 1. */
export function nextVisit(
  response: PurchaseResponse,
  { patience }: { readonly patience: number },
  { history: { returned, failures }, arrivedMs, nowMs }: { history: History; arrivedMs: number; nowMs: number },
  random: number,
): { atMs: number; history: History } | undefined {
  const again = (afterMs: number) =>
    returned < patience && afterMs <= LONGEST_WAIT_MS
      ? { atMs: nowMs + afterMs + random * LATE_BY_UP_TO_MS, history: { returned: returned + 1, failures: 0 } }
      : undefined;
  const retry = (leastMs: number) =>
    failures < MAX_FAILURES
      ? {
          atMs: nowMs + Math.max(leastMs, backoff(failures + 1, FAILURE_BASE_MS, FAILURE_MAX_MS, random)),
          history: { returned, failures: failures + 1 },
        }
      : undefined;
  switch (response.outcome) {
    case 'admitted':
    case 'already-admitted':
    case 'sold-out':
      return undefined;
    case 'not-open':
      // An early bird knows the time of the opening.
      return arrivedMs < 0
        ? { atMs: Math.max(0, nowMs) + random * LATE_BY_UP_TO_MS, history: { returned, failures: 0 } }
        : again(NOT_OPEN_PAUSE_MS);
    case 'queue-full':
      return again(response.retryAfterMs ?? NOT_OPEN_PAUSE_MS);
    case 'overloaded':
      return retry(response.retryAfterMs ?? 0);
    case 'error':
      return response.lost ? retry(0) : undefined;
  }
}
