// One simulated sale, from its creation to the last ticket.
import { setTimeout as sleep } from 'node:timers/promises';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { CliError } from '../shared/errors.ts';
import { createSale } from '../shared/flash-sales.ts';
import { HttpClient } from '../shared/http.ts';
import { type Plan, planOf } from './arrivals.ts';
import { type CheckedTicket, checkTickets, READERS } from './check-tickets.ts';
import { letIn } from './crowd.ts';
import { CONNECTIONS, PurchaseClient } from './purchases.ts';
import { mulberry32 } from './random.ts';
import type { Settings } from './settings.ts';
import { Tally } from './tally.ts';
import { isSettled, type Sample, Watch } from './watch.ts';

/** Between the creation and the opening: time for every process to know of the sale, and for early birds. */
const OPENS_AFTER_MS = 1_500;
/** The sale closes this long after everything should be over, so that none stays open for ever. */
const CLOSES_AFTER_MS = 5 * 60_000;
/** HTTP dates are whole seconds, so clocks that differ by less are taken as the same. */
const SAME_CLOCK_MS = 2_000;
/** After the crowd has left, requests that it gave up are still decided. */
const CALM_MS = 1_000;
const CALM_ROUNDS = 5;

export interface Run {
  readonly settings: Settings;
  readonly url: string;
  /** As it was read last. */
  readonly sale: FlashSale;
  readonly tally: Tally;
  readonly tickets: readonly CheckedTicket[];
  readonly samples: readonly Sample[];
}

type SimulationPhase = 'waiting for the opening' | 'buyers arrive' | 'the queue drains' | 'checking tickets';

/** What there is to show while it runs. */
export interface Progress {
  readonly phase: SimulationPhase;
  readonly sale: FlashSale;
  readonly tally: Tally;
  /** Of the phase. */
  readonly done: number;
  readonly total: number;
}

export interface RunOptions {
  readonly url: string;
  readonly settings: Settings;
  readonly signal: AbortSignal;
  /** Called often. */
  readonly onProgress: (progress: Progress) => void;
}

export async function simulate({ url, settings, signal, onProgress }: RunOptions): Promise<Run> {
  const plan = planOf(settings);
  const tally = new Tally(settings.buyers);
  const http = new HttpClient(url, READERS);
  try {
    const { sale, openingAt } = await announce(http, settings, signal);
    const client = new PurchaseClient(url, sale.id);
    const watch = new Watch(url, sale, openingAt);
    try {
      const show = (phase: SimulationPhase, done: number, total: number) =>
        onProgress({ phase, sale: watch.latest, tally, done, total });
      await client.connect(Math.min(settings.buyers, CONNECTIONS));
      const sale: Sell = { plan, settings, client, watch, tally, openingAt, signal, show };
      await sell(sale);
      await retryUncertain(sale);
      await settle(watch, settings, signal, show);
      const tickets = await checkTickets({ http, sale: watch.latest, plan, tally, signal }, (done) =>
        show('checking tickets', done, tally.tickets.size),
      );
      await watch.look(signal); // so that the books are not older than the tickets
      return { settings, url, sale: watch.latest, tally, tickets, samples: watch.samples };
    } finally {
      await Promise.all([client.close(), watch.close()]);
    }
  } finally {
    await http.close();
  }
}

/** Creates the sale, opening soon: `openingAt` is that moment by performance.now(). */
async function announce(http: HttpClient, { stock, queue, drain, seconds, seed }: Settings, signal: AbortSignal) {
  const ahead = await clockAhead(http, signal);
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

/** How far the system's clock, which judges the opening, is ahead of this machine's, in milliseconds. */
async function clockAhead(http: HttpClient, signal: AbortSignal): Promise<number> {
  // Asked of the orders, because they are needed at the end: a URL that serves none is found before the sale.
  const { status, headers } = await http.request('GET', '/orders?userId=buyer&limit=1', { signal });
  if (status === 404)
    throw new CliError('there are no orders at that URL: give one where both flash sales and orders are answered');
  const ahead = Date.parse(headers.date ?? '') - Date.now();
  return Math.abs(ahead) > SAME_CLOCK_MS ? ahead : 0;
}

type Show = (phase: SimulationPhase, done: number, total: number) => void;

interface Sell {
  readonly plan: Plan;
  readonly settings: Settings;
  readonly client: PurchaseClient;
  readonly watch: Watch;
  readonly tally: Tally;
  readonly openingAt: number;
  readonly signal: AbortSignal;
  readonly show: Show;
}

/** Resolves when every buyer is in or has left. */
async function sell({ plan, settings, client, watch, tally, openingAt, signal, show }: Sell): Promise<void> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const random = mulberry32(settings.seed + 1);
  let left = false;
  const crowd = letIn({ plan, client, tally, openingAt, random, signal: either }).then(() => {
    left = true;
  });
  const watching = watch
    .until(() => {
      const phase = performance.now() < openingAt ? 'waiting for the opening' : 'buyers arrive';
      show(phase, tally.arrivals.first.length, plan.visits.length);
      return left;
    }, either)
    .catch((error) => {
      failed.abort(error); // the buyers stay away from a sale that cannot be seen
      throw error;
    });
  // The first to fail says why; the other has ended by then or ends with it.
  const [watched, sold] = await Promise.allSettled([watching, crowd]);
  signal.throwIfAborted();
  if (watched.status === 'rejected') throw watched.reason;
  if (sold.status === 'rejected') throw sold.reason;
}

/** Who lost an answer comes once more when all is calm, to learn of a ticket that came after it. */
async function retryUncertain(sale: Sell): Promise<void> {
  for (let round = 0; round < CALM_ROUNDS; round++) {
    const uncertain = sale.tally.takeUncertain();
    if (uncertain.length === 0) return;
    await sleep(CALM_MS, undefined, { signal: sale.signal });
    const atMs = performance.now() - sale.openingAt;
    const visits = uncertain.map((buyer) => ({ buyer, atMs, again: true }));
    await sell({ ...sale, plan: { ...sale.plan, visits } });
  }
}

/** Waits until no ticket is under way, or until that takes too long: then the books are judged as they are. */
async function settle(watch: Watch, { queue, drain, timeoutSeconds }: Settings, signal: AbortSignal, show: Show) {
  const deadline = performance.now() + (timeoutSeconds + queue / drain) * 1_000;
  await watch.until((sale) => {
    const { ordered, released, admitted } = sale.counts;
    show('the queue drains', ordered + released, admitted);
    return isSettled(sale) || performance.now() > deadline;
  }, signal);
}
