// Clients that place orders at a steady rate and log every response. Without a response, or after a 503, a client
// repeats the request under the same Idempotency-Key. One in ten sends its request twice at the same time, and one in
// ten cancels the order soon after.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent } from 'undici';
import { eventually } from '../../setup/wait.ts';
import type { Schedule } from './schedule.ts';

/** Concurrent requests; without responses, no more are sent. */
const MAX_UNDER_WAY = 64;
const ANSWER_WITHIN_MS = 5_000;
const RETRY_MS = 100;
const TWICE = 0.1;
const CANCELS = 0.1;
/** After the response, so before, during or after the steps. */
const CANCELS_WITHIN_MS = 500;

/** The outcome of one request. `unknown`: no response, so the order may be placed or not. */
export interface Answer {
  readonly status: number | 'unknown';
  readonly orderId?: string;
  readonly retryAfter?: string;
}

interface LoggedOrder {
  readonly key: string;
  readonly userId: string;
  readonly total: number;
  readonly answers: readonly Answer[];
  /** Its cancellation got a response. */
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

type Logged = LoggedOrder & { answers: Answer[]; cancelled: boolean };

export class Load {
  readonly log = new Map<string, Logged>();
  readonly #options: LoadOptions;
  readonly #name = randomUUID();
  readonly #agent = new Agent({
    connectTimeout: ANSWER_WITHIN_MS,
    headersTimeout: ANSWER_WITHIN_MS,
    bodyTimeout: ANSWER_WITHIN_MS,
  });
  readonly #underWay = new Set<Promise<void>>();
  readonly #running: Promise<void>;
  #stopping = false;
  #giveUpAt = Number.POSITIVE_INFINITY;
  #attempts = 0;
  #placed = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** The number of responses by status. */
  get statuses(): ReadonlyMap<Answer['status'], number> {
    const counts = new Map<Answer['status'], number>();
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
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    await this.#agent.destroy();
  }

  async #run(): Promise<void> {
    const { pace = 60 } = this.#options;
    for (let number = 1; !this.#stopping; number++) {
      if (this.#underWay.size < MAX_UNDER_WAY) {
        const placing = this.#place(number).finally(() => this.#underWay.delete(placing));
        this.#underWay.add(placing);
      }
      await delay(1000 / pace);
    }
  }

  async #place(number: number): Promise<void> {
    const { schedule, cancels = CANCELS } = this.#options;
    const key = `${this.#name}-${number}`;
    const order = { key, userId: `user-${number % 10}`, total: 0, answers: [] as Answer[], cancelled: false };
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
      const status = await this.#request(`/orders/${id}/cancel`, {}).then(
        ({ statusCode }) => statusCode,
        () => 'unknown' as const,
      );
      if (status === 200) order.cancelled = true;
      if ((status !== 'unknown' && status < 500) || performance.now() > this.#giveUpAt) return;
      await delay(RETRY_MS);
    }
  }

  async #untilAnswered({ key, answers }: { key: string; answers: Answer[] }, body: string): Promise<void> {
    for (;;) {
      const answer = await this.#send(key, body);
      answers.push(answer);
      if (answer.status !== 'unknown' && answer.status < 500) return;
      if (performance.now() > this.#giveUpAt) return;
      await delay(RETRY_MS);
    }
  }

  async #send(key: string, body: string): Promise<Answer> {
    try {
      const { statusCode: status, id, retryAfter } = await this.#request('/orders', { 'idempotency-key': key }, body);
      return {
        status,
        ...(status < 300 && id !== undefined ? { orderId: id } : {}),
        ...(typeof retryAfter === 'string' ? { retryAfter } : {}),
      };
    } catch {
      return { status: 'unknown' };
    }
  }

  async #request(path: string, headers: Readonly<Record<string, string>>, body = '{}') {
    const { urls } = this.#options;
    const answer = await this.#agent.request({
      origin: urls[this.#attempts++ % urls.length] as string,
      path,
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    });
    const { id } = (await answer.body.json()) as { id?: string };
    return { statusCode: answer.statusCode, id, retryAfter: answer.headers['retry-after'] };
  }
}
