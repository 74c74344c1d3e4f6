// A steady flow of orders: an open loop, which sends the next order when its time has come, whatever became of the ones
// before. So a service that falters is not spared, and a late answer counts from when its order was meant to be sent.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { HttpClient, NoResponse } from '../shared/http.ts';
import { mugs } from '../shared/orders.ts';

const CONNECTIONS = 64;

/** What became of one order. Times are in milliseconds. */
export interface Answer {
  /** When its order was to be sent, after `origin`. */
  readonly dueMs: number;
  /** When the answer was there, after `origin`. */
  readonly atMs: number;
  /** The HTTP status; 0: there was no answer. */
  readonly status: number;
}

export const isAccepted = ({ status }: Answer): boolean => status >= 200 && status < 300;

/** How many there are of each status; `none`: requests that were given up without an answer. */
export function byStatus(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status } of answers) {
    const name = status === 0 ? 'none' : String(status);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** From when its order was to be sent, to a tenth of a millisecond. */
export const latencyMsOf = ({ dueMs, atMs }: Answer): number => Math.round((atMs - dueMs) * 10) / 10;

export interface FlowOptions {
  readonly url: string;
  /** Orders a second. */
  readonly rate: number;
  /** Whose orders they are, in turn. */
  readonly users: readonly string[];
  /** The zero of all times, by performance.now(). */
  readonly origin: number;
  readonly signal: AbortSignal;
}

export class Flow {
  /** In the order in which they came. */
  readonly answers: Answer[] = [];
  /** The ids of the orders that were answered 2xx. */
  readonly accepted: string[] = [];
  readonly #options: FlowOptions;
  readonly #http: HttpClient;
  readonly #underWay = new Set<Promise<void>>();
  readonly #ended = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: FlowOptions) {
    this.#options = options;
    this.#http = new HttpClient(options.url, CONNECTIONS);
    this.#running = this.#run();
  }

  /** Sends no more and resolves when every order has its answer, which the client's timeouts see to. */
  async end(): Promise<void> {
    this.#ended.abort();
    await this.#running;
    await Promise.all(this.#underWay);
    await this.#http.close();
  }

  async #run(): Promise<void> {
    const { rate, users, signal } = this.#options;
    const over = AbortSignal.any([signal, this.#ended.signal]);
    const startedAt = performance.now();
    for (let index = 0; !over.aborted; index++) {
      const dueAt = startedAt + (index * 1_000) / rate;
      const early = dueAt - performance.now();
      // What is rejected is the pause of a flow that has ended.
      if (early > 0) await sleep(early, undefined, { signal: over }).catch(() => {});
      if (over.aborted) return;
      const order = this.#place(users[index % users.length] ?? 'guest', dueAt).finally(() =>
        this.#underWay.delete(order),
      );
      this.#underWay.add(order);
    }
  }

  async #place(userId: string, dueAt: number): Promise<void> {
    const { origin, signal } = this.#options;
    const json = { userId, currency: 'GBP', items: mugs };
    const headers = { 'idempotency-key': randomUUID() };
    let status = 0;
    try {
      const answer = await this.#http.request('POST', '/orders', { json, headers, signal });
      status = answer.status;
      if (answer.status >= 200 && answer.status < 300)
        this.accepted.push(String((answer.body as { id?: unknown } | undefined)?.id));
    } catch (error) {
      if (signal.aborted) return; // nobody is interested any more
      if (!(error instanceof NoResponse)) throw error;
    }
    this.answers.push({ dueMs: dueAt - origin, atMs: performance.now() - origin, status });
  }
}
