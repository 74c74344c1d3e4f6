// A steady flow of orders: an open loop sends each order at its time, even if earlier ones are unanswered. So a slow
// service gets no relief, and latency counts from the time at which an order was due.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { HttpClient, type HttpResponse, NoResponse } from '../shared/http.ts';
import { mugs } from '../shared/orders.ts';

const CONNECTIONS = 64;

/** The answer to one order. Times are in milliseconds after `origin`. */
export interface Answer {
  /** When its order was due to be sent. */
  readonly dueMs: number;
  readonly atMs: number;
  /** The HTTP status; 0: no answer. */
  readonly status: number;
}

export const isAccepted = ({ status }: Answer): boolean => status >= 200 && status < 300;

/** Answers by status; `none`: requests without one. */
export function byStatus(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status } of answers) {
    const name = status === 0 ? 'none' : String(status);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** From the time at which the order was due, to a tenth of a millisecond. */
export const latencyMsOf = ({ dueMs, atMs }: Answer): number => Math.round((atMs - dueMs) * 10) / 10;

interface FlowOptions {
  readonly url: string;
  /** Orders per second. */
  readonly rate: number;
  /** Users that order, in turn. */
  readonly users: readonly string[];
  /** The zero of all times, by performance.now(). */
  readonly origin: number;
  readonly signal: AbortSignal;
}

export class Flow {
  /** In the order of their arrival. */
  readonly answers: Answer[] = [];
  /** Ids of the orders that got a 2xx. */
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

  /** Sends no more orders; resolves when every order has its answer, which the client's timeouts guarantee. */
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
      if (early > 0) await sleep(early, undefined, { signal: over }).catch(() => {}); // the flow has ended
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
    let response: HttpResponse | undefined;
    try {
      response = await this.#http.request('POST', '/orders', { json, headers, signal });
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof NoResponse)) throw error;
    }
    const answer = { dueMs: dueAt - origin, atMs: performance.now() - origin, status: response?.status ?? 0 };
    if (isAccepted(answer)) this.accepted.push(String((response?.body as { id?: unknown } | undefined)?.id));
    this.answers.push(answer);
  }
}
