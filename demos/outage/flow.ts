// A steady flow of orders: an open loop sends each order at its time, even if earlier ones have no response yet. So a
// slow service gets no relief, and latency counts from the time at which an order was due.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { order } from '../../contracts/orders.ts';
import { PendingSet } from '../../infra/runtime/collections.ts';
import { HttpClient } from '../shared/http.ts';
import { mugs } from '../shared/orders.ts';

const CONNECTIONS = 64;

/** The response to one order. Times are in milliseconds after `origin`. */
export interface OrderResponse {
  /** When its order was due to be sent. */
  readonly dueMs: number;
  readonly atMs: number;
  /** The HTTP status; 0: no response, or a 2xx without an order. */
  readonly status: number;
}

export const isAccepted = ({ status }: OrderResponse): boolean => status >= 200 && status < 300;

/** The number of responses by status; `none`: without one. */
export function byStatus(responses: readonly OrderResponse[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status } of responses) {
    const name = status === 0 ? 'none' : String(status);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** The latency from the time at which the order was due, to a tenth of a millisecond. */
export const latencyMsOf = ({ dueMs, atMs }: OrderResponse): number => Math.round((atMs - dueMs) * 10) / 10;

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
  /** The responses in the order of their arrival. */
  readonly responses: OrderResponse[] = [];
  /** Ids of the orders that got a 2xx. */
  readonly accepted: string[] = [];
  readonly #options: FlowOptions;
  readonly #http: HttpClient;
  readonly #underWay = new PendingSet();
  readonly #ended = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: FlowOptions) {
    this.#options = options;
    this.#http = new HttpClient(options.url, CONNECTIONS);
    this.#running = this.#run();
  }

  /** Sends no more orders; resolves when every order has its response, which the client's timeouts guarantee. */
  async end(): Promise<void> {
    this.#ended.abort();
    await this.#running;
    await this.#underWay.settled();
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
      void this.#underWay.add(this.#place(users[index % users.length] ?? 'guest', dueAt));
    }
  }

  async #place(userId: string, dueAt: number): Promise<void> {
    const { origin, signal } = this.#options;
    const request = { body: { userId, currency: 'GBP', items: [...mugs] }, idempotencyKey: randomUUID() };
    // The request rejects without a response, or after an abort.
    const response = await this.#http.call('POST /orders', request, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const timed = { dueMs: dueAt - origin, atMs: performance.now() - origin, status: response?.status ?? 0 };
    if (isAccepted(timed)) {
      const placed = order.safeParse(response?.body);
      if (placed.success) this.accepted.push(placed.data.id);
      else timed.status = 0;
    }
    this.responses.push(timed);
  }
}
