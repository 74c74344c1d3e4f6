// Buyers that hold tickets: each waits for its order and then pays it, cancels it, pays and cancels it, or does
// nothing. They log every response. After no response or a 503, a holder sends the request to the next shop, or leaves
// without knowing whether the order is paid.
import { setTimeout as delay } from 'node:timers/promises';
import * as schemas from '../../setup/schemas.ts';
import { RotatingClient } from './rotating-client.ts';
import type { Schedule } from './schedule.ts';
import { UnderWay } from './under-way.ts';

const POLL_MS = 300;
const RETRY_MS = 200;
/** Share of the holders that try again after a declined payment. */
const PAYS_AGAIN = 0.5;
/** Share of the holders that leave after a payment with an unknown outcome. */
const GOES_AWAY = 0.3;

export type HolderStatus = number | 'unknown';

interface LoggedHolder {
  readonly orderId?: string;
  /** The status of each attempt to pay, in order. */
  readonly payments: readonly HolderStatus[];
  /** The cancellation got a 200. */
  readonly cancelled: boolean;
}

/** By ticket. */
export type HolderLog = ReadonlyMap<string, LoggedHolder>;

export interface HoldersOptions {
  /** URLs for reading tickets, and for paying and cancelling orders; each request goes to the next one. */
  readonly gateways: readonly string[];
  readonly shops: readonly string[];
  readonly saleId: string;
  readonly schedule: Schedule;
  /** Shares of the holders that pay, cancel, and pay and then cancel. The others do nothing. */
  readonly pay: number;
  readonly cancel: number;
  readonly regret: number;
  /** Holders act within this time after their order is placed, at random. */
  readonly withinMs: number;
}

type Logged = { orderId?: string; payments: HolderStatus[]; cancelled: boolean };

export class Holders {
  readonly log = new Map<string, Logged>();
  readonly #options: HoldersOptions;
  readonly #gateways: RotatingClient;
  readonly #shops: RotatingClient;
  readonly #underWay = new UnderWay();
  #giveUpAt = Number.POSITIVE_INFINITY;

  constructor(options: HoldersOptions) {
    this.#options = options;
    this.#gateways = new RotatingClient(options.gateways);
    this.#shops = new RotatingClient(options.shops);
  }

  /** The statuses of all attempts to pay. */
  get payments(): HolderStatus[] {
    return [...this.log.values()].flatMap(({ payments }) => payments);
  }

  /** A holder acts on this ticket from now on. */
  readonly take = (ticketId: string): void => {
    const logged: Logged = { payments: [], cancelled: false };
    this.log.set(ticketId, logged);
    this.#underWay.add(this.#hold(ticketId, logged));
  };

  /** Resolves when all holders have acted, or gave up after `withinMs`. */
  async stop(withinMs = 30_000): Promise<void> {
    this.#giveUpAt = Math.min(this.#giveUpAt, performance.now() + withinMs);
    try {
      await this.#underWay.settled();
    } finally {
      await Promise.all([this.#gateways.close(), this.#shops.close()]);
    }
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
    while (performance.now() < this.#giveUpAt) {
      const answer = await this.#gateways.send(`/flash-sales/${this.#options.saleId}/purchases/${ticketId}`, {});
      const { orderId } = answer?.status === 200 ? answer.json(schemas.ticket) : {};
      if (orderId !== undefined) return orderId;
      await delay(POLL_MS);
    }
    return undefined;
  }

  async #pay(orderId: string, { payments }: Logged): Promise<void> {
    for (;;) {
      const status = await this.#post(`/orders/${orderId}/pay`);
      payments.push(status);
      if (performance.now() > this.#giveUpAt) return;
      const goesOn = status === 402 ? PAYS_AGAIN : isUnknown(status) ? 1 - GOES_AWAY : 0;
      if (this.#options.schedule.random() >= goesOn) return;
      await delay(RETRY_MS);
    }
  }

  async #cancel(orderId: string, logged: Logged): Promise<void> {
    for (;;) {
      const status = await this.#post(`/orders/${orderId}/cancel`);
      if (status === 200) logged.cancelled = true;
      if (!isUnknown(status) || performance.now() > this.#giveUpAt) return;
      await delay(RETRY_MS);
    }
  }

  async #post(path: string): Promise<HolderStatus> {
    return (await this.#shops.send(path, { method: 'POST' }))?.status ?? 'unknown';
  }
}

/** Whether the response leaves the outcome unknown. */
export const isUnknown = (status: HolderStatus): boolean => status === 'unknown' || status >= 500;
