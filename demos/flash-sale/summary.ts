// What a run comes to: the figures of the terminal, of the report, and of --json.
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { type Latency, latencyOf } from '../shared/statistics.ts';
import type { CheckedTicket } from './check-tickets.ts';
import { type Books, type Equation, equationsOf, type TicketCounts } from './equations.ts';
import { type Fairness, fairnessOf } from './fairness.ts';
import { type PurchaseOutcome, purchaseOutcomes, type RejectedOutcome, rejectedOutcomes } from './purchase-outcome.ts';
import { CONNECTIONS } from './purchases.ts';
import type { Run } from './run.ts';
import type { Settings } from './settings.ts';
import type { Tally } from './tally.ts';

export interface Summary {
  readonly settings: Settings;
  readonly url: string;
  readonly saleId: string;
  readonly buyers: {
    readonly total: number;
    readonly admitted: number;
    /** By the last reason that they were told. */
    readonly rejected: Readonly<Record<RejectedOutcome, number>>;
    readonly unanswered: number;
  };
  readonly requests: {
    readonly sent: number;
    /** Because a buyer came again: the queue was full, it was not open yet, or there was no decision. */
    readonly again: number;
    readonly answered: Readonly<Record<PurchaseOutcome, number>>;
  };
  readonly tickets: TicketCounts;
  /** From the first order to the last, by the times of their acceptance; null for fewer than two. */
  readonly ordersPerSecond: number | null;
  /** Rejected requests, from the first to the last. No throughput: nothing was sold by them. */
  readonly rejectionsPerSecond: number | null;
  readonly longestQueue: number;
  /** By answer: from the moment that the buyer came, waiting for one of `connections` included. */
  readonly latencyMs: Readonly<Partial<Record<PurchaseOutcome, Latency>>>;
  readonly connections: number;
  /** The longest that a request waited for one of them. */
  readonly longestWaitMs: number;
  /** Null for fewer than two orders. */
  readonly fairness: Fairness | null;
  readonly sale: Pick<FlashSale, 'stock' | 'queue' | 'counts'>;
  /** Answers that are none of the contract's, and requests without one, by message. */
  readonly errors: readonly { readonly message: string; readonly count: number }[];
  readonly equations: readonly Equation[];
}

export function summarize(run: Run): Summary {
  const { settings, url, sale, tally, tickets } = run;
  const { stock, queue, counts } = sale;
  const endings = tally.endings();
  const answered = byOutcome((outcome) => tally.countOf(outcome));
  const longestQueue = run.samples.reduce((max, sample) => Math.max(max, sample.queue), tally.longestQueue);
  const ticketCounts = countTickets(tickets, tally);
  const books: Books = {
    buyers: settings.buyers,
    endings,
    sent: tally.sent,
    answered,
    stock: settings.stock,
    queueCap: settings.queue,
    longestQueue,
    sale,
    tickets: ticketCounts,
  };
  return {
    settings,
    url,
    saleId: sale.id,
    buyers: {
      total: settings.buyers,
      admitted: endings.admitted,
      rejected: {
        'queue-full': endings['queue-full'],
        'sold-out': endings['sold-out'],
        'not-open': endings['not-open'],
        overloaded: endings.overloaded,
      },
      unanswered: endings.error,
    },
    requests: { sent: tally.sent, again: tally.arrivals.again.length, answered },
    tickets: ticketCounts,
    ordersPerSecond: rateOf(tickets.flatMap(({ orderedMs }) => orderedMs ?? [])),
    rejectionsPerSecond: rateOf(rejectedOutcomes.flatMap((outcome) => tally.answersOf(outcome).atMs)),
    longestQueue,
    latencyMs: latencies(tally),
    connections: CONNECTIONS,
    longestWaitMs: tally.longestWaitMs,
    fairness: fairnessOf(served(tickets)) ?? null,
    sale: { stock, queue, counts },
    errors: tally.errors,
    equations: equationsOf(books),
  };
}

/** The equations that do not hold. */
export const failures = ({ equations }: Summary): readonly Equation[] => equations.filter(({ holds }) => !holds);

const byOutcome = <T>(value: (outcome: PurchaseOutcome) => T): Record<PurchaseOutcome, T> =>
  Object.fromEntries(purchaseOutcomes.map((outcome) => [outcome, value(outcome)])) as Record<PurchaseOutcome, T>;

function latencies(tally: Tally): Partial<Record<PurchaseOutcome, Latency>> {
  const found: Partial<Record<PurchaseOutcome, Latency>> = {};
  for (const outcome of purchaseOutcomes) {
    const latency = latencyOf(tally.answersOf(outcome).latencyMs);
    if (latency) found[outcome] = latency;
  }
  return found;
}

/** Those whose admission and order are both known. */
const served = (tickets: readonly CheckedTicket[]) =>
  tickets.flatMap(({ arrivedMs, orderedMs }) =>
    arrivedMs === undefined || orderedMs === undefined ? [] : [{ arrivedAt: arrivedMs, servedAt: orderedMs }],
  );

/** Per second, between the first and the last of these times in milliseconds. */
function rateOf(times: readonly number[]): number | null {
  const first = times.reduce((min, time) => Math.min(min, time), Number.POSITIVE_INFINITY);
  const last = times.reduce((max, time) => Math.max(max, time), Number.NEGATIVE_INFINITY);
  return last > first ? ((times.length - 1) * 1_000) / (last - first) : null;
}

function countTickets(tickets: readonly CheckedTicket[], tally: Tally): TicketCounts {
  const released = tickets.filter(({ status }) => status === 'released' || status === 'failed');
  const ordered = tickets.filter(({ status }) => status === 'ordered');
  const live = tickets.filter(({ status }) => status !== 'released' && status !== 'failed');
  const holders = new Map<number, number>();
  for (const { buyer } of live) holders.set(buyer, (holders.get(buyer) ?? 0) + 1);
  const orders = ordered.filter(({ orderId, orderedBy, userId }) => orderId !== undefined && orderedBy === userId);
  return {
    distinct: tickets.length,
    shared: tally.sharedTickets,
    buyersWithTwo: [...holders.values()].filter((held) => held > 1).length,
    ordered: ordered.length,
    released: released.length,
    unfinished: tickets.length - ordered.length - released.length,
    orders: new Set(orders.map(({ orderId }) => orderId)).size,
  };
}
