// The figures of a run, from the buyers' responses, their tickets and the sale's own totals.
import { groupBy } from '../../infra/runtime/collections.ts';
import { recordOf } from '../shared/record-of.ts';
import { latencyOf } from '../shared/statistics.ts';
import type { CheckedTicket } from './check-tickets.ts';
import { fairnessOf } from './fairness.ts';
import { busySeconds, paceOf } from './pace.ts';
import { CONNECTIONS, outcomesWithoutTicket, purchaseOutcomes } from './purchases.ts';
import type { Run } from './run.ts';

export type Figures = ReturnType<typeof figuresOf>;

export function figuresOf({ settings, url, sale, counters, tickets, samples }: Run) {
  const { stock, queue, counts } = sale;
  const { admitted, error: withErrors, ...rejected } = counters.endings();
  const waits = tickets.flatMap(({ arrivedMs, orderedMs }) =>
    arrivedMs === undefined || orderedMs === undefined ? [] : [{ arrivedMs, orderedMs }],
  );
  return {
    settings,
    url,
    saleId: sale.id,
    /** By final outcome; `rejected`: by the reason of the last rejection. */
    buyers: { total: settings.buyers, admitted, rejected, withErrors },
    requests: {
      sent: counters.sent,
      /** By buyers who came again: the queue was full, the sale was not open yet, or there was no decision. */
      again: counters.arrivals.again.length,
      responses: recordOf(purchaseOutcomes, (outcome) => counters.countOf(outcome)),
    },
    tickets: countTickets(tickets, counters.sharedTickets),
    /** From the first order's acceptance to the last one's; null for fewer than two. */
    ordersPerSecond: rateOf(tickets.flatMap(({ orderedMs }) => orderedMs ?? [])),
    /** Null without a second in which buyers waited. */
    pace: paceOf(
      tickets.flatMap(({ orderedMs }) => orderedMs ?? []),
      busySeconds(waits),
      settings.drain,
    ),
    /** From the first to the last. Not a throughput: rejections sell nothing. */
    rejectionsPerSecond: rateOf(outcomesWithoutTicket.flatMap((outcome) => counters.responses[outcome].atMs)),
    longestQueue: samples.reduce((max, sample) => Math.max(max, sample.queue), counters.longestQueue),
    /** By response, from the buyer's arrival, including the wait for one of `connections`. */
    latencyMs: recordOf(purchaseOutcomes, (outcome) => latencyOf(counters.responses[outcome].latencyMs)),
    connections: CONNECTIONS,
    /** The longest wait for a connection. */
    longestWaitMs: counters.longestWaitMs,
    /** How long after its planned time a request left the load generator. */
    sendDelayMs: latencyOf(counters.sendDelayMs),
    /** Null for fewer than two orders. */
    fairness: fairnessOf(waits.map(({ arrivedMs, orderedMs }) => ({ arrivedAt: arrivedMs, servedAt: orderedMs }))),
    sale: { stock, queue, counts },
    /** Responses outside the contract, and requests without one, by message. */
    errors: counters.errors,
  };
}

/** Per second, between the first and the last of these times in milliseconds. */
function rateOf(times: readonly number[]): number | null {
  if (times.length < 2) return null;
  const first = times.reduce((a, b) => Math.min(a, b));
  const last = times.reduce((a, b) => Math.max(a, b));
  return last > first ? ((times.length - 1) * 1_000) / (last - first) : null;
}

/** The buyers' tickets, each read once at the end. `shared`: responses with a ticket of another buyer. */
function countTickets(tickets: readonly CheckedTicket[], shared: number) {
  const isReleased = ({ status }: CheckedTicket) => status === 'released' || status === 'failed';
  const released = tickets.filter(isReleased).length;
  const ordered = tickets.filter(({ status }) => status === 'ordered');
  const orders = ordered.filter(({ orderId, orderedBy, userId }) => orderId !== undefined && orderedBy === userId);
  const live = tickets.filter((ticket) => !isReleased(ticket));
  return {
    distinct: tickets.length,
    shared,
    /** Buyers with more than one ticket that is neither released nor failed. */
    buyersWithTwo: [...groupBy(live, ({ buyer }) => buyer).values()].filter((held) => held.length > 1).length,
    ordered: ordered.length,
    /** Released or failed: the unit is for sale again. */
    released,
    /** In no final state, or not readable. */
    unfinished: tickets.length - ordered.length - released,
    /** Distinct orders of the tickets, each of the buyer who holds the ticket. */
    orders: new Set(orders.map(({ orderId }) => orderId)).size,
  };
}
