// The result of a run: the figures of the terminal, of the report, and of --json.
import { recordOf } from '../shared/record-of.ts';
import { type Latency, latencyOf } from '../shared/statistics.ts';
import { count, duration } from '../shared/terminal.ts';
import type { CheckedTicket } from './check-tickets.ts';
import type { Counters } from './counters.ts';
import { equationsOf, type TicketCounts } from './equations.ts';
import { fairnessOf } from './fairness.ts';
import { CONNECTIONS, outcomeNames, type PurchaseOutcome, purchaseOutcomes, rejectedOutcomes } from './purchases.ts';
import type { Run } from './run.ts';

export type Summary = ReturnType<typeof summarize>;

export function summarize({ settings, url, sale, counters, tickets, samples }: Run) {
  const { stock, queue, counts } = sale;
  const endings = counters.endings();
  const { admitted, error: unanswered, ...rejected } = endings;
  const requests = {
    sent: counters.sent,
    /** By buyers who came again: the queue was full, the sale was not open yet, or there was no decision. */
    again: counters.arrivals.again.length,
    answered: recordOf(purchaseOutcomes, (outcome) => counters.countOf(outcome)),
  };
  const longestQueue = samples.reduce((max, sample) => Math.max(max, sample.queue), counters.longestQueue);
  const ticketCounts = countTickets(tickets, counters);
  return {
    settings,
    url,
    saleId: sale.id,
    /** `rejected`: by the reason of the last rejection. */
    buyers: { total: settings.buyers, admitted, rejected, unanswered },
    requests,
    tickets: ticketCounts,
    /** From the first order's acceptance to the last one's; null for fewer than two. */
    ordersPerSecond: rateOf(tickets.flatMap(({ orderedMs }) => orderedMs ?? [])),
    /** From the first to the last. Not a throughput: rejections sell nothing. */
    rejectionsPerSecond: rateOf(rejectedOutcomes.flatMap((outcome) => counters.answers[outcome].atMs)),
    longestQueue,
    /** By answer, from the buyer's arrival, including the wait for one of `connections`. */
    latencyMs: latencies(counters),
    connections: CONNECTIONS,
    /** The longest wait for a connection. */
    longestWaitMs: counters.longestWaitMs,
    /** Null for fewer than two orders. */
    fairness: fairnessOf(served(tickets)),
    sale: { stock, queue, counts },
    /** Responses outside the contract, and requests without one, by message. */
    errors: counters.errors,
    equations: equationsOf({ settings, endings, requests, longestQueue, sale, tickets: ticketCounts }),
  };
}

/** The equations that do not hold. */
export const failures = ({ equations }: Summary) => equations.filter(({ holds }) => !holds);

export const sumOfRejections = ({ requests }: Summary): number =>
  rejectedOutcomes.reduce((sum, outcome) => sum + requests.answered[outcome], 0);

/** `99.8/s`, `1,546/s`; a dash without a rate. */
export const perSecond = (rate: number | null): string =>
  rate === null ? '–' : `${rate < 200 ? rate.toFixed(1) : count(Math.round(rate))}/s`;

/** A row for each answer that was given: buyers, requests, p50, p95, p99 and longest latency; and one for all. */
export function outcomeRows({ buyers, requests, latencyMs }: Summary): string[][] {
  const buyersBy: Partial<Record<PurchaseOutcome, number>> = {
    ...buyers.rejected,
    admitted: buyers.admitted,
    error: buyers.unanswered,
  };
  const rows = purchaseOutcomes
    .filter((outcome) => requests.answered[outcome] > 0)
    .map((outcome) => {
      const { p50 = 0, p95 = 0, p99 = 0, max = 0 } = latencyMs[outcome] ?? {};
      const ended = buyersBy[outcome];
      return [
        outcomeNames[outcome],
        ended === undefined ? '' : count(ended),
        count(requests.answered[outcome]),
        ...[p50, p95, p99, max].map(duration),
      ];
    });
  return [...rows, ['in all', count(buyers.total), count(requests.sent), '', '', '', '']];
}

function latencies({ answers }: Counters): Partial<Record<PurchaseOutcome, Latency>> {
  const found = purchaseOutcomes.map((outcome) => [outcome, latencyOf(answers[outcome].latencyMs)] as const);
  return Object.fromEntries(found.filter(([, latency]) => latency !== undefined));
}

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
