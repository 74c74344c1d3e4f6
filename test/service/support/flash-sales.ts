// A client of the flash sales: creates them, buys at several gateways at once, and waits until what was admitted is over.
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { FlashSale, Purchase, Ticket } from '../../../contracts/flash-sales.ts';
import type { BuyerAnswer } from '../../fault/support/buyers.ts';
import { eventually, gate } from '../../setup/wait.ts';
import { type Answer, call, get, postJson } from './api.ts';
import type { System } from './systems.ts';

/** 59.00 GBP: 59 points and a coupon of 2.95. Open at once, and unless told otherwise without an end. */
export const saleOf = (changes: object = {}) => ({
  sku: 'LAMP',
  name: 'Lamp',
  unitPrice: 5_900,
  currency: 'GBP',
  stock: 100,
  queueCap: 50,
  drainPerSecond: 100,
  ...changes,
});

export async function createSale(url: string, changes: object = {}): Promise<FlashSale> {
  const answer = await postJson(`${url}/flash-sales`, saleOf(changes));
  if (answer.status !== 201) throw new Error(`POST /flash-sales: ${answer.status} ${answer.text}`);
  return answer.json<FlashSale>();
}

export const readSale = (url: string, saleId: string) => get<FlashSale>(`${url}/flash-sales/${saleId}`);
export const readTicket = (url: string, saleId: string, ticketId: string) =>
  get<Ticket>(`${url}/flash-sales/${saleId}/purchases/${ticketId}`);

export const buy = (url: string, saleId: string, userId: string, headers: Readonly<Record<string, string>> = {}) =>
  postJson(`${url}/flash-sales/${saleId}/purchases`, { userId }, headers);

/** The ticket of an answer that says there is one. */
export function ticketOf(answer: Answer): Purchase {
  expect([200, 202], answer.text).toContain(answer.status);
  return answer.json<Purchase>();
}

/** Users that nobody else in the test run is. */
export function freshUsers(count: number): string[] {
  const name = randomUUID().slice(0, 8);
  return Array.from({ length: count }, (_, index) => `${name}-${index}`);
}

export const gatewaysOf = (system: System): string[] => system.processes('flash-sale').map(({ url }) => url);

export interface Bought {
  readonly userId: string;
  readonly answer: Answer;
}

/** What an overloaded gateway says before it has decided anything. */
const isRejectedBeforehand = ({ status, text }: Answer) => status === 503 && text.includes('Too many requests at once');

/** Buyers who remember every answer, for the checker. */
export class Buyers {
  readonly log = new Map<string, { userId: string; saleId: string; answers: BuyerAnswer[] }>();

  /** A gateway that is too busy to decide is asked again. */
  async buy(url: string, saleId: string, userId: string, headers?: Readonly<Record<string, string>>): Promise<Answer> {
    const answer = await eventually(
      async () => {
        const given = await buy(url, saleId, userId, headers);
        return !isRejectedBeforehand(given) && given;
      },
      { what: 'a decision' },
    );
    let logged = this.log.get(userId);
    if (!logged) {
      logged = { userId, saleId, answers: [] };
      this.log.set(userId, logged);
    }
    if (logged.saleId !== saleId) throw new Error('one user in two sales');
    const { status } = answer;
    logged.answers.push(
      status < 300 ? { status, ...answer.json<{ ticketId: string; position: number }>() } : { status },
    );
    return answer;
  }

  /** All of them buy at once, each at the next gateway. A user may be named several times. */
  async rush(gateways: readonly string[], saleId: string, users: readonly string[]): Promise<Bought[]> {
    const together = gate(users.length);
    return Promise.all(
      users.map(async (userId, index) => {
        await together();
        return { userId, answer: await this.buy(gateways[index % gateways.length] as string, saleId, userId) };
      }),
    );
  }
}

/** How many answers there are of each kind: by status, rejections by their problem as well. */
export function countOutcomes(bought: readonly Bought[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { answer } of bought) {
    const problem = answer.status < 400 ? '' : ` ${answer.json<{ type: string }>().type.replace('/problems/', '')}`;
    const kind = `${answer.status}${problem}`;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

export const admittedOf = (bought: readonly Bought[]) => bought.filter(({ answer }) => answer.status === 202);

/** stock = remaining + held + sold, admitted = held + ordered + released, and the queue within its cap. */
export function expectBooks({ stock, counts, queue }: FlashSale): void {
  expect(stock.initial).toBe(stock.remaining + stock.held + stock.sold);
  expect(counts.admitted).toBe(stock.held + counts.ordered + counts.released);
  expect(counts.ordered).toBe(stock.sold);
  expect(Math.min(stock.remaining, stock.held, stock.sold, queue.length)).toBeGreaterThanOrEqual(0);
  expect(queue.length).toBeLessThanOrEqual(queue.cap);
  expect(queue.length).toBeLessThanOrEqual(stock.held);
}

/** Waits until no unit is held: every ticket has its order or is over. */
export const over = (url: string, saleId: string, timeoutMs = 60_000): Promise<FlashSale> =>
  eventually(
    async () => {
      const sale = await readSale(url, saleId);
      expectBooks(sale);
      expect(sale.stock.held).toBe(0);
      return sale;
    },
    { what: 'nothing is held any more', timeoutMs },
  );

export interface Watch {
  /** Ends it; answers the longest queue that was seen. */
  stop(): Promise<number>;
}

/** Reads the sale again and again, at each gateway in turn, and judges its totals every time. */
export function watch(gateways: readonly string[], saleId: string): Watch {
  let stopped = false;
  let longest = 0;
  const watching = (async () => {
    for (let turn = 0; !stopped; turn++) {
      const sale = await readSale(gateways[turn % gateways.length] as string, saleId);
      expectBooks(sale);
      longest = Math.max(longest, sale.queue.length);
    }
  })();
  watching.catch(() => undefined); // told by stop()
  return {
    async stop() {
      stopped = true;
      await watching;
      return longest;
    },
  };
}

/** A page as a browser asks for it. */
export const asBrowser = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

export const buyByForm = (url: string, saleId: string, fields: Readonly<Record<string, string>>) =>
  call(`${url}/flash-sales/${saleId}/purchases`, {
    method: 'POST',
    headers: { ...asBrowser, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(fields).toString(),
  });
