// People who hold tickets: each waits until its order is there, and then pays for it, cancels it, pays and regrets it, or
// leaves it alone. They keep a log of every answer. Who gets none, or a 503, asks again at the next shop, or goes away
// without knowing whether it is paid.
import { setTimeout as delay } from 'node:timers/promises';
import { Agent } from 'undici';
import type { Schedule } from './schedule.ts';

const ANSWER_WITHIN_MS = 5_000;
const LOOK_MS = 300;
const RETRY_MS = 200;
/** After a payment that was declined, by half of them each time. */
const PAYS_AGAIN = 0.5;
/** After a payment of which nobody knows how it ended. */
const GOES_AWAY = 0.3;

export type HolderStatus = number | 'unknown';

interface LoggedHolder {
  readonly orderId?: string;
  /** What each attempt to pay was answered, in order. */
  readonly payments: readonly HolderStatus[];
  /** The cancellation was answered with 200. */
  readonly cancelled: boolean;
}

/** By ticket. */
export type HolderLog = ReadonlyMap<string, LoggedHolder>;

export interface HoldersOptions {
  /** Where tickets are read, and where orders are paid and cancelled; each attempt goes to the next. */
  readonly gateways: readonly string[];
  readonly shops: readonly string[];
  readonly saleId: string;
  readonly schedule: Schedule;
  /** The shares of those who pay, who cancel, and who do both. The others do nothing. */
  readonly pay: number;
  readonly cancel: number;
  readonly regret: number;
  /** They act at a random time within this, after their order is there. */
  readonly withinMs: number;
}

type Logged = { orderId?: string; payments: HolderStatus[]; cancelled: boolean };

export class Holders {
  readonly log = new Map<string, Logged>();
  readonly #options: HoldersOptions;
  readonly #agent = new Agent({
    connectTimeout: ANSWER_WITHIN_MS,
    headersTimeout: ANSWER_WITHIN_MS,
    bodyTimeout: ANSWER_WITHIN_MS,
  });
  readonly #underWay = new Set<Promise<void>>();
  #giveUpAt = Number.POSITIVE_INFINITY;
  #attempts = 0;

  constructor(options: HoldersOptions) {
    this.#options = options;
  }

  /** What all attempts to pay were answered. */
  get payments(): HolderStatus[] {
    return [...this.log.values()].flatMap(({ payments }) => payments);
  }

  /** Somebody holds this ticket from now on. */
  readonly take = (ticketId: string): void => {
    const logged: Logged = { payments: [], cancelled: false };
    this.log.set(ticketId, logged);
    const holding = this.#hold(ticketId, logged).finally(() => this.#underWay.delete(holding));
    this.#underWay.add(holding);
  };

  /** Resolves when all have done what they want to, or gave up after `withinMs`. */
  async stop(withinMs = 30_000): Promise<void> {
    this.#giveUpAt = Math.min(this.#giveUpAt, performance.now() + withinMs);
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    await this.#agent.destroy();
  }

  async #hold(ticketId: string, logged: Logged): Promise<void> {
    const { schedule, pay, cancel, regret, withinMs } = this.#options;
    const mood = schedule.random();
    const pause = schedule.between(0, withinMs);
    const pays = mood < pay + regret;
    const cancels = mood >= pay && mood < pay + regret + cancel;
    if (!pays && !cancels) return;
    const orderId = await this.#orderOf(ticketId);
    if (orderId === undefined) return;
    logged.orderId = orderId;
    await delay(pause);
    if (pays) await this.#pay(orderId, logged);
    if (cancels) await this.#cancel(orderId, logged);
  }

  async #orderOf(ticketId: string): Promise<string | undefined> {
    const { gateways, saleId } = this.#options;
    while (performance.now() < this.#giveUpAt) {
      const { orderId } = await this.#request('GET', gateways, `/flash-sales/${saleId}/purchases/${ticketId}`);
      if (orderId !== undefined) return orderId;
      await delay(LOOK_MS);
    }
    return undefined;
  }

  async #pay(orderId: string, { payments }: Logged): Promise<void> {
    for (;;) {
      const { status } = await this.#request('POST', this.#options.shops, `/orders/${orderId}/pay`);
      payments.push(status);
      if (performance.now() > this.#giveUpAt) return;
      const goesOn = status === 402 ? PAYS_AGAIN : isUnknown(status) ? 1 - GOES_AWAY : 0;
      if (this.#options.schedule.random() >= goesOn) return;
      await delay(RETRY_MS);
    }
  }

  async #cancel(orderId: string, logged: Logged): Promise<void> {
    for (;;) {
      const { status } = await this.#request('POST', this.#options.shops, `/orders/${orderId}/cancel`);
      if (status === 200) logged.cancelled = true;
      if (!isUnknown(status) || performance.now() > this.#giveUpAt) return;
      await delay(RETRY_MS);
    }
  }

  async #request(
    method: 'GET' | 'POST',
    urls: readonly string[],
    path: string,
  ): Promise<{ status: HolderStatus; orderId?: string }> {
    try {
      const { statusCode, body } = await this.#agent.request({
        origin: urls[this.#attempts++ % urls.length] as string,
        path,
        method,
      });
      const { orderId } = (await body.json()) as { orderId?: string };
      return { status: statusCode, ...(orderId === undefined ? {} : { orderId }) };
    } catch {
      return { status: 'unknown' };
    }
  }
}

/** Whether the answer leaves it open what was done. */
export const isUnknown = (status: HolderStatus): boolean => status === 'unknown' || status >= 500;
