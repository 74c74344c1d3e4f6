// One simulated sale, from its creation to the last ticket.
import { setTimeout as sleep } from 'node:timers/promises';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { CliError } from '../shared/errors.ts';
import { createSale, readSale } from '../shared/flash-sales.ts';
import { HttpClient } from '../shared/http.ts';
import { Poller } from '../shared/poller.ts';
import { mulberry32, type Plan, planOf, type Settings } from './arrivals.ts';
import { type SignToken, tokensOf } from './buyer-tokens.ts';
import { type CheckedTicket, checkTickets, READERS } from './check-tickets.ts';
import { Counters } from './counters.ts';
import { Crowd, type CrowdOptions } from './crowd.ts';
import { CONNECTIONS, PurchaseClient } from './purchases.ts';

/** Between the creation and the opening: time for every process to learn of the sale, and for early birds. */
const OPENS_AFTER_MS = 1_500;
/** The sale closes this long after everything should be over, so that it does not stay open forever. */
const CLOSES_AFTER_MS = 5 * 60_000;
/** HTTP dates are whole seconds, so clocks that differ by less count as equal. */
const SAME_CLOCK_MS = 2_000;
/** Pause before each round of retries: the server may still be deciding requests that timed out. */
const CALM_MS = 1_000;
const CALM_ROUNDS = 5;
const POLL_MS = 150;

export interface Run {
  readonly settings: Settings;
  readonly url: string;
  /** As it was read last. */
  readonly sale: FlashSale;
  readonly counters: Counters;
  readonly tickets: readonly CheckedTicket[];
  /** The queue's length at times in milliseconds after the opening. */
  readonly samples: readonly { readonly atMs: number; readonly queue: number }[];
}

/** The progress of a run, for the display. */
export interface Progress extends Pick<Run, 'sale' | 'counters'> {
  readonly phase: 'waiting for the opening' | 'buyers arrive' | 'the queue drains' | 'checking tickets';
  /** The progress of the phase. */
  readonly done: number;
  readonly total: number;
}

export interface RunOptions {
  readonly url: string;
  readonly settings: Settings;
  readonly signal: AbortSignal;
  /** Signs the tokens of the buyers; undefined: the server wants none. */
  readonly signToken?: SignToken | undefined;
  /** Called often. */
  readonly onProgress: (progress: Progress) => void;
}

export async function simulate(options: RunOptions): Promise<Run> {
  const { url, settings, signToken } = options;
  const users = () => planOf(settings).buyers.map(({ userId }) => userId);
  const client = new PurchaseClient(url, CONNECTIONS, signToken && (await tokensOf(users(), signToken)));
  // On connections of its own, so that it does not wait behind the buyers.
  const http = new HttpClient(options.url, READERS);
  try {
    return await new Simulation({ ...options, ...(await announce(http, options)), http, client }).run();
  } finally {
    await Promise.all([client.close(), http.close()]);
  }
}

/** Creates the sale, opening soon: `openingAt`, by performance.now(). */
async function announce(http: HttpClient, { url, settings, signal }: RunOptions) {
  const { stock, queue, drain, seconds, seed } = settings;
  const ahead = await clockAhead(http, url, signal);
  const opensAt = Date.now() + ahead + OPENS_AFTER_MS;
  const openingAt = performance.now() + OPENS_AFTER_MS;
  const durationMs = (seconds + queue / drain) * 1_000;
  const request = {
    sku: 'FLASH',
    name: `Flash sale, seed ${seed}`,
    unitPrice: 1_999,
    currency: 'GBP',
    stock,
    queueCap: queue,
    drainPerSecond: drain,
    opensAt: new Date(opensAt).toISOString(),
    closesAt: new Date(opensAt + durationMs + CLOSES_AFTER_MS).toISOString(),
  };
  return { sale: await createSale(http, request, signal), openingAt };
}

/**
 * How far the server's clock, by its Date header, is ahead of this machine's, in milliseconds. The clock of the
 * database decides about the opening; it is assumed to agree with the server's.
 */
async function clockAhead(http: HttpClient, url: string, signal: AbortSignal): Promise<number> {
  // From a list of orders, because orders are read at the end: a URL without them is found before the sale.
  const { status, headers } = await http.call('GET /orders', { query: { userId: 'buyer', limit: 1 } }, { signal });
  if (status === 404)
    throw new CliError(
      `the server at ${url} does not run the order service; use a URL that serves orders and flash sales`,
    );
  const ahead = Date.parse(String(headers.date)) - Date.now();
  return Math.abs(ahead) > SAME_CLOCK_MS ? ahead : 0;
}

interface SimulationOptions extends RunOptions, Pick<CrowdOptions, 'client' | 'openingAt'> {
  readonly sale: FlashSale;
  readonly http: HttpClient;
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #plan: Plan;
  readonly #counters: Counters;
  readonly #crowd: Crowd;
  readonly #poller: Poller<FlashSale>;
  readonly #samples: { atMs: number; queue: number }[] = [];
  #sale: FlashSale;

  constructor(options: SimulationOptions) {
    const { settings, signal, sale } = options;
    this.#options = options;
    this.#plan = planOf(settings);
    this.#counters = new Counters(settings.buyers);
    const { buyers } = this.#plan;
    const random = mulberry32(settings.seed + 1);
    this.#crowd = new Crowd({ ...options, saleId: sale.id, buyers, counters: this.#counters, random });
    this.#poller = new Poller(() => this.#readSale(), POLL_MS, signal);
    this.#sale = sale;
  }

  async run(): Promise<Run> {
    const { url, settings, client } = this.#options;
    await client.connect(Math.min(settings.buyers, CONNECTIONS));
    await this.#sell(this.#plan.visits);
    await this.#retryUncertain();
    await this.#settle();
    const seen = this.#counters.tickets;
    const tickets = await checkTickets(this.#options, seen, this.#plan.buyers, (done) =>
      this.#show('checking tickets', done, seen.size),
    );
    await this.#readSale(); // so that the sale's totals are not older than the tickets
    return { settings, url, sale: this.#sale, counters: this.#counters, tickets, samples: this.#samples };
  }

  /** Resolves when every visitor has a ticket or has left. Ends the visits of a sale that cannot be read. */
  async #sell(visits: Plan['visits']): Promise<void> {
    const { signal } = this.#options;
    const failed = new AbortController();
    const crowd = this.#crowd.run(visits, AbortSignal.any([signal, failed.signal]));
    try {
      await this.#poller.during(crowd, () => {
        const phase = performance.now() < this.#options.openingAt ? 'waiting for the opening' : 'buyers arrive';
        this.#show(phase, this.#counters.arrivals.first.length, this.#plan.visits.length);
      });
    } catch (error) {
      failed.abort(error);
      await crowd.catch(() => {});
      throw error;
    }
  }

  /**
   * Buyers who lost a response come again when all is calm, in up to CALM_ROUNDS rounds: a request may have been
   * admitted after its buyer gave it up.
   */
  async #retryUncertain(): Promise<void> {
    for (let round = 0; round < CALM_ROUNDS; round++) {
      const uncertain = this.#counters.takeUncertain();
      if (uncertain.length === 0) return;
      await sleep(CALM_MS, undefined, { signal: this.#options.signal });
      const atMs = performance.now() - this.#options.openingAt;
      await this.#sell(uncertain.map((buyer) => ({ buyer, atMs, again: true })));
    }
  }

  /**
   * Waits until no ticket is queued or holds a unit, or until the time is over: then the totals are judged as they are.
   */
  async #settle(): Promise<void> {
    const { queue, drain, timeoutSeconds } = this.#options.settings;
    const deadline = performance.now() + (timeoutSeconds + queue / drain) * 1_000;
    await this.#poller.until(({ queue, stock, counts }) => {
      this.#show('the queue drains', counts.ordered + counts.released, counts.admitted);
      return queue.length === 0 && stock.held === 0;
    }, deadline);
  }

  async #readSale(): Promise<FlashSale> {
    const { http, signal, openingAt } = this.#options;
    this.#sale = await readSale(http, this.#sale.id, signal);
    this.#samples.push({ atMs: performance.now() - openingAt, queue: this.#sale.queue.length });
    return this.#sale;
  }

  #show(phase: Progress['phase'], done: number, total: number): void {
    this.#options.onProgress({ phase, sale: this.#sale, counters: this.#counters, done, total });
  }
}
