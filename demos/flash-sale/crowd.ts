// Sends the buyers at their times, however the server answers (an open loop), and again when they decide to come again.
import { EventEmitter, once } from 'node:events';
import { Agenda } from './agenda.ts';
import type { Plan, Random } from './arrivals.ts';
import { type History, nextVisit } from './buyer.ts';
import type { Counters } from './counters.ts';
import type { PurchaseClient } from './purchases.ts';

interface Request {
  readonly buyer: number;
  readonly again: boolean;
  readonly history: History;
}

export interface CrowdOptions {
  readonly buyers: Plan['buyers'];
  readonly client: PurchaseClient;
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
    const { buyers, client, counters, openingAt, random } = this.#options;
    const visitor = buyers[buyer];
    if (!visitor) throw new RangeError(`there is no buyer ${buyer}`);
    counters.send(arrivedMs, again);
    client.buy(visitor.userId, (answer, waitedMs) => {
      const nowMs = performance.now() - openingAt;
      counters.answer(buyer, answer, { arrivedMs, atMs: nowMs, waitedMs });
      if (this.#pending === 0) return; // aborted
      const next = nextVisit(answer, visitor, { history, arrivedMs, nowMs }, random());
      if (next) this.#agenda.add(openingAt + next.atMs, { buyer, again: true, history: next.history });
      else if (--this.#pending === 0) this.#events.emit('left');
    });
  }
}
