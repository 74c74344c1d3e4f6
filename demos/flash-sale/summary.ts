// The result of a run: the equations that must hold after it, and its figures for the terminal and the report.
import { sum } from '../shared/statistics.ts';
import { count, duration, text } from '../shared/terminal.ts';
import type { Settings } from './arrivals.ts';
import { type Figures, figuresOf } from './figures.ts';
import { paceSentence } from './pace.ts';
import { outcomeNames, outcomesWithoutTicket, type PurchaseOutcome, purchaseOutcomes } from './purchases.ts';
import type { Run } from './run.ts';

export type Summary = ReturnType<typeof summarize>;

export function summarize(run: Run) {
  const figures = figuresOf(run);
  return { ...figures, equations: equationsOf(figures) };
}

export interface Totals extends Pick<Figures, 'buyers' | 'requests' | 'tickets' | 'longestQueue'> {
  readonly settings: Pick<Settings, 'stock' | 'queue'>;
  readonly sale: Pick<Figures['sale'], 'stock' | 'counts'>;
}

/**
 * Each with its name, its numbers in a `text`, and whether it holds. The simulator counts the buyers' responses, the
 * service the sale's events: if possible, the sides of an equation come from different places, so each can fail.
 */
export function equationsOf({ settings, buyers, requests, longestQueue, sale, tickets }: Totals) {
  const { stock, queue } = settings;
  const { sent, responses } = requests;
  const { initial, remaining, held, sold } = sale.stock;
  const { admitted, ordered, released } = sale.counts;
  const { distinct, shared, buyersWithTwo, unfinished, orders } = tickets;
  const rejected = sum(Object.values(buyers.rejected));
  const outcomes = purchaseOutcomes.filter((outcome) => responses[outcome] > 0);
  const byResponse = outcomes.map((outcome) => text`${responses[outcome]} ${outcomeNames[outcome]}`).join(' + ');
  const equations: [name: string, text: string, holds: boolean][] = [
    [
      'stock',
      text`${stock} = ${remaining} remaining + ${held} held + ${sold} sold`,
      initial === stock && stock === remaining + held + sold && Math.min(remaining, held, sold) >= 0,
    ],
    [
      'admitted',
      text`${admitted} = ${held} held + ${ordered} ordered + ${released} released`,
      admitted === held + ordered + released,
    ],
    ['tickets', text`${distinct} given to buyers = ${admitted} admitted by the sale`, distinct === admitted],
    [
      'one each',
      text`${shared} tickets given to two buyers, ${buyersWithTwo} buyers with two live tickets`,
      shared === 0 && buyersWithTwo === 0,
    ],
    [
      'final',
      text`${distinct} tickets = ${tickets.ordered} ordered + ${tickets.released} released, ${unfinished} unfinished`,
      unfinished === 0 && distinct === tickets.ordered + tickets.released,
    ],
    [
      'orders',
      text`${orders} orders, each by the buyer of its ticket = ${tickets.ordered} ordered tickets = ${ordered} ordered, ${sold} sold by the sale`,
      orders === tickets.ordered && tickets.ordered === ordered && ordered === sold,
    ],
    ['queue', text`${longestQueue} at its longest, of at most ${queue}`, longestQueue <= queue],
    ['requests', text`${sent} sent = ${byResponse}`, sent === sum(Object.values(responses))],
    [
      'buyers',
      text`${buyers.total} = ${buyers.admitted} admitted + ${rejected} rejected, ${buyers.withErrors} with an error`,
      buyers.total === buyers.admitted + rejected && buyers.withErrors === 0,
    ],
  ];
  return equations.map(([name, text, holds]) => ({ name, text, holds }));
}

/** The equations that do not hold. */
export const failures = ({ equations }: Summary) => equations.filter(({ holds }) => !holds);

/** `99.8/s`, `1,546/s`; a dash without a rate. */
export const perSecond = (rate: number | null): string =>
  rate === null ? '–' : `${rate < 200 ? rate.toFixed(1) : count(Math.round(rate))}/s`;

/** The most important figures, each with its name. */
export function headlines({ settings, buyers, requests, tickets, pace, ...measured }: Summary): [string, string][] {
  return [
    ['ordered', text`${tickets.ordered} of ${settings.stock}`],
    ['orders', perSecond(measured.ordersPerSecond)],
    ['rate held', pace ? text`${pace.held} of ${pace.seconds} s` : '–'],
    ['buyers rejected', count(sum(Object.values(buyers.rejected)))],
    ['requests rejected', count(sum(outcomesWithoutTicket.map((outcome) => requests.responses[outcome])))],
    ['rejections', perSecond(measured.rejectionsPerSecond)],
    ['longest queue', text`${measured.longestQueue} of ${settings.queue}`],
  ];
}

/** If more than 1 % of the requests leave later than this, the load generator cannot keep to its plan. */
const MAX_SEND_DELAY_MS = 50;

/** Whether the rate was held, and whether the load generator was the limit. */
export function paceSentences({ pace, sendDelayMs }: Pick<Summary, 'pace' | 'sendDelayMs'>): string[] {
  const delayMs = sendDelayMs?.p99 ?? 0;
  return [
    ...(pace ? [paceSentence(pace)] : []),
    ...(delayMs > MAX_SEND_DELAY_MS
      ? [
          `The load generator was the limit at times: 1 % of its requests left more than ${duration(delayMs)} after their planned time, so it distorts arrivals and response times.`,
        ]
      : []),
  ];
}

/** A row for each outcome that occurred, with its buyers, requests and latencies, and one for all of them. */
export function responseTable({ buyers, requests, latencyMs, connections, longestWaitMs }: Summary) {
  const { rejected, admitted, withErrors: error } = buyers;
  const buyersBy: Partial<Record<PurchaseOutcome, number>> = { ...rejected, admitted, error };
  const rows = purchaseOutcomes
    .filter((outcome) => requests.responses[outcome] > 0)
    .map((outcome) => {
      const { p50 = 0, p95 = 0, p99 = 0, max = 0 } = latencyMs[outcome] ?? {};
      const ended = buyersBy[outcome];
      return [
        outcomeNames[outcome],
        ended === undefined ? '' : count(ended),
        count(requests.responses[outcome]),
        ...[p50, p95, p99, max].map(duration),
      ];
    });
  return {
    head: ['response', 'buyers', 'requests', 'p50', 'p95', 'p99', 'max'],
    rows: [...rows, ['total', count(buyers.total), count(requests.sent), '', '', '', '']],
    caption: `Buyers by final outcome, requests by response. Times count from the buyer's arrival, including the wait for one of ${connections} connections (at most ${duration(longestWaitMs)}).`,
  };
}
