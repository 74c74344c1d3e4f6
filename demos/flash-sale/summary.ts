// The result of a run: the figures of the terminal, of the report, and of --json.
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { type Latency, latencyOf } from '../shared/statistics.ts';
import { count } from '../shared/terminal.ts';
import type { CheckedTicket } from './check-tickets.ts';
import { byOutcome, type Counters } from './counters.ts';
import { type Equation, equationsOf, type TicketCounts } from './equations.ts';
import { type Fairness, fairnessOf } from './fairness.ts';
import {
  CONNECTIONS,
  type PurchaseOutcome,
  purchaseOutcomes,
  type RejectedOutcome,
  rejectedOutcomes,
} from './purchases.ts';
import type { Run } from './run.ts';
import type { Settings } from './settings.ts';

export interface Summary {
  readonly settings: Settings;
  readonly url: string;
  readonly saleId: string;
  readonly buyers: {
    readonly total: number;
    readonly admitted: number;
    /** By the reason of the last rejection. */
    readonly rejected: Readonly<Record<RejectedOutcome, number>>;
    readonly unanswered: number;
  };
  readonly requests: {
    readonly sent: number;
    /** By buyers who came again: the queue was full, the sale was not open yet, or there was no decision. */
    readonly again: number;
    readonly answered: Readonly<Record<PurchaseOutcome, number>>;
  };
  readonly tickets: TicketCounts;
  /** From the first order's acceptance to the last one's; null for fewer than two. */
  readonly ordersPerSecond: number | null;
  /** From the first to the last. Not a throughput: rejections sell nothing. */
  readonly rejectionsPerSecond: number | null;
  readonly longestQueue: number;
  /** By answer, from the buyer's arrival, including the wait for one of `connections`. */
  readonly latencyMs: Readonly<Partial<Record<PurchaseOutcome, Latency>>>;
  readonly connections: number;
  /** The longest wait for a connection. */
  readonly longestWaitMs: number;
  /** Null for fewer than two orders. */
  readonly fairness: Fairness | null;
  readonly sale: Pick<FlashSale, 'stock' | 'queue' | 'counts'>;
  /** Responses outside the contract, and requests without one, by message. */
  readonly errors: readonly { readonly message: string; readonly count: number }[];
  readonly equations: readonly Equation[];
}

export function summarize({ settings, url, sale, counters, tickets, samples }: Run): Summary {
  const { stock, queue, counts } = sale;
  const { admitted, error: unanswered, ...rejected } = counters.endings();
  const answered = byOutcome((outcome) => counters.countOf(outcome));
  const longestQueue = samples.reduce((max, sample) => Math.max(max, sample.queue), counters.longestQueue);
  const ticketCounts = countTickets(tickets, counters);
  return {
    settings,
    url,
    saleId: sale.id,
    buyers: { total: settings.buyers, admitted, rejected, unanswered },
    requests: { sent: counters.sent, again: counters.arrivals.again.length, answered },
    tickets: ticketCounts,
    ordersPerSecond: rateOf(tickets.flatMap(({ orderedMs }) => orderedMs ?? [])),
    rejectionsPerSecond: rateOf(rejectedOutcomes.flatMap((outcome) => counters.answers[outcome].atMs)),
    longestQueue,
    latencyMs: Object.fromEntries(
      purchaseOutcomes.flatMap((outcome) => {
        const latency = latencyOf(counters.answers[outcome].latencyMs);
        return latency ? [[outcome, latency]] : [];
      }),
    ),
    connections: CONNECTIONS,
    longestWaitMs: counters.longestWaitMs,
    fairness: fairnessOf(served(tickets)) ?? null,
    sale: { stock, queue, counts },
    errors: counters.errors,
    equations: equationsOf({
      buyers: settings.buyers,
      endings: counters.endings(),
      sent: counters.sent,
      answered,
      stock: settings.stock,
      queueCap: settings.queue,
      longestQueue,
      sale,
      tickets: ticketCounts,
    }),
  };
}

/** The equations that do not hold. */
export const failures = ({ equations }: Summary): readonly Equation[] => equations.filter(({ holds }) => !holds);

export const sumOfRejections = ({ requests }: Summary): number =>
  rejectedOutcomes.reduce((sum, outcome) => sum + requests.answered[outcome], 0);

/** `99.8/s`, `1,546/s`; a dash without a rate. */
export const perSecond = (rate: number | null): string =>
  rate === null ? '–' : `${rate < 200 ? rate.toFixed(1) : count(Math.round(rate))}/s`;

/** The tickets whose arrival and order are both known. */
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

function countTickets(tickets: readonly CheckedTicket[], { sharedTickets }: Counters): TicketCounts {
  const isReleased = ({ status }: CheckedTicket) => status === 'released' || status === 'failed';
  const released = tickets.filter(isReleased).length;
  const ordered = tickets.filter(({ status }) => status === 'ordered');
  const holders = new Map<number, number>();
  for (const { buyer } of tickets.filter((ticket) => !isReleased(ticket)))
    holders.set(buyer, (holders.get(buyer) ?? 0) + 1);
  const orders = ordered.filter(({ orderId, orderedBy, userId }) => orderId !== undefined && orderedBy === userId);
  return {
    distinct: tickets.length,
    shared: sharedTickets,
    buyersWithTwo: [...holders.values()].filter((held) => held > 1).length,
    ordered: ordered.length,
    released,
    unfinished: tickets.length - ordered.length - released,
    orders: new Set(orders.map(({ orderId }) => orderId)).size,
  };
}
