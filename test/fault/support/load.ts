// Clients that place orders at a steady rate and log every response. Without a response, or after a 503, a client
// repeats the request under the same Idempotency-Key. One in ten sends its request twice at the same time, and one in
// ten cancels the order soon after.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { type Answer, jsonRequest } from '../../setup/api.ts';
import * as schemas from '../../setup/schemas.ts';
import { eventually } from '../../setup/wait.ts';
import { RotatingClient } from './rotating-client.ts';
import type { Schedule } from './schedule.ts';
import { UnderWay } from './under-way.ts';

/** Concurrent requests; without responses, no more are sent. */
const MAX_UNDER_WAY = 64;
const RETRY_MS = 100;
const TWICE = 0.1;
const CANCELS = 0.1;
/** After the response, so before, during or after the steps. */
const CANCELS_WITHIN_MS = 500;

/** The outcome of one request. `unknown`: no response, so the order may be placed or not. */
export interface LoggedAnswer {
  readonly status: number | 'unknown';
  readonly orderId?: string;
  readonly retryAfter?: string;
}

interface LoggedOrder {
  readonly key: string;
  readonly userId: string;
  readonly total: number;
  readonly answers: readonly LoggedAnswer[];
  /** Its cancellation got a 200. */
  readonly cancelled: boolean;
}

/** By Idempotency-Key. */
export type ClientLog = ReadonlyMap<string, LoggedOrder>;

export interface LoadOptions {
  /** The order processes; each attempt goes to the next. */
  readonly urls: readonly string[];
  readonly schedule: Schedule;
  /** Orders a second. */
  readonly pace?: number;
  /** The share of orders that are cancelled. */
  readonly cancels?: number;
}

type Logged = LoggedOrder & { answers: LoggedAnswer[]; cancelled: boolean };

export class Load {
  readonly log = new Map<string, Logged>();
  readonly #options: LoadOptions;
  readonly #name = randomUUID();
  readonly #client: RotatingClient;
  readonly #underWay = new UnderWay();
  readonly #running: Promise<void>;
  #stopping = false;
  #giveUpAt = Number.POSITIVE_INFINITY;
  #placed = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#client = new RotatingClient(options.urls);
    this.#running = this.#run();
  }

  /** The number of responses by status. */
  get statuses(): ReadonlyMap<LoggedAnswer['status'], number> {
    const counts = new Map<LoggedAnswer['status'], number>();
    for (const { answers } of this.log.values())
      for (const { status } of answers) counts.set(status, (counts.get(status) ?? 0) + 1);
    return counts;
  }

  /** Resolves when `count` more orders are placed. */
  async morePlaced(count: number): Promise<void> {
    const goal = this.#placed + count;
    await eventually(() => this.#placed >= goal, { what: `${count} more orders are placed`, timeoutMs: 60_000 });
  }

  /** Stops new orders. Resolves when all orders have a response, or after `withinMs`. */
  async stop(withinMs = 30_000): Promise<void> {
    this.#stopping = true;
    this.#giveUpAt = Math.min(this.#giveUpAt, performance.now() + withinMs);
    await this.#running;
    try {
      await this.#underWay.settled();
    } finally {
      await this.#client.close();
    }
  }

  async #run(): Promise<void> {
    const { pace = 60 } = this.#options;
    for (let number = 1; !this.#stopping; number++) {
      if (this.#underWay.size < MAX_UNDER_WAY) this.#underWay.add(this.#place(number));
      await delay(1000 / pace);
    }
  }

  async #place(number: number): Promise<void> {
    const { schedule, cancels = CANCELS } = this.#options;
    const key = `${this.#name}-${number}`;
    const order = { key, userId: `user-${number % 10}`, total: 0, answers: [] as LoggedAnswer[], cancelled: false };
    const items = Array.from({ length: schedule.between(1, 3) }, (_, index) => ({
      sku: `sku-${index}`,
      quantity: schedule.between(1, 3),
      // From 0 to totals that earn a coupon.
      unitPrice: schedule.between(0, 3_000),
    }));
    order.total = items.reduce((sum, { quantity, unitPrice }) => sum + quantity * unitPrice, 0);
    this.log.set(order.key, order);
    const body = JSON.stringify({ userId: order.userId, currency: 'GBP', items });
    const senders = schedule.random() < TWICE ? 2 : 1;
    await Promise.all(Array.from({ length: senders }, () => this.#untilAnswered(order, body)));
    this.#placed++;
    if (schedule.random() < cancels) {
      await delay(schedule.between(0, CANCELS_WITHIN_MS));
      await this.#cancel(order);
    }
  }

  async #cancel(order: Logged): Promise<void> {
    const id = order.answers.find(({ orderId }) => orderId !== undefined)?.orderId;
    if (id === undefined) return;
    for (;;) {
      const answer = await this.#client.send(`/orders/${id}/cancel`, jsonRequest({}));
      const status = answer?.status ?? 'unknown';
      if (status === 200) order.cancelled = true;
      if ((status !== 'unknown' && status < 500) || performance.now() > this.#giveUpAt) return;
      await delay(RETRY_MS);
    }
  }

  async #untilAnswered({ key, answers }: { key: string; answers: LoggedAnswer[] }, body: string): Promise<void> {
    for (;;) {
      const answer = logged(await this.#client.send('/orders', jsonRequest(body, { 'idempotency-key': key })));
      answers.push(answer);
      if (answer.status !== 'unknown' && answer.status < 500) return;
      if (performance.now() > this.#giveUpAt) return;
      await delay(RETRY_MS);
    }
  }
}

/** The order service does not need the broker. */
export function expectOnlySuccess({ statuses }: Load): void {
  expect([...statuses.keys()].filter((status) => status !== 200 && status !== 201)).toEqual([]);
}

function logged(answer: Answer | undefined): LoggedAnswer {
  if (!answer) return { status: 'unknown' };
  const { status, headers } = answer;
  const retryAfter = headers['retry-after'];
  return {
    status,
    ...(status < 300 ? { orderId: answer.json(schemas.order).id } : {}),
    ...(typeof retryAfter === 'string' ? { retryAfter } : {}),
  };
}
