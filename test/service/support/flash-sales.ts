// A client of flash sales: creates them, buys at several gateways at once, and waits until every ticket has its
// outcome.
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { z } from 'zod';
import type { createFlashSaleRequest, FlashSale, Purchase } from '../../../contracts/flash-sales.ts';
import type { BuyerAnswer } from '../../fault/support/buyers.ts';
import { type Answer, call, get, postJson } from '../../setup/api.ts';
import * as schemas from '../../setup/schemas.ts';
import { eventually, gate } from '../../setup/wait.ts';
import type { System } from './systems.ts';

/** 59.00 GBP: 59 points and a coupon of 2.95. By default it opens at once and never closes. */
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

export async function createSale(
  url: string,
  changes: Partial<z.input<typeof createFlashSaleRequest>> = {},
): Promise<FlashSale> {
  const answer = await postJson(`${url}/flash-sales`, saleOf(changes));
  if (answer.status !== 201) throw new Error(`POST /flash-sales: ${answer.status} ${answer.text}`);
  return answer.json(schemas.flashSale);
}

export const readSale = (url: string, saleId: string) => get(`${url}/flash-sales/${saleId}`, schemas.flashSale);
export const readTicket = (url: string, saleId: string, ticketId: string) =>
  get(`${url}/flash-sales/${saleId}/purchases/${ticketId}`, schemas.ticket);

export const buy = (url: string, saleId: string, userId: string, headers: Readonly<Record<string, string>> = {}) =>
  postJson(`${url}/flash-sales/${saleId}/purchases`, { userId }, headers);

/** The ticket of a 200 or 202. */
export function ticketOf(answer: Answer): Purchase {
  expect([200, 202], answer.text).toContain(answer.status);
  return answer.json(schemas.purchase);
}

/** User ids that no other test uses. */
export function freshUsers(count: number): string[] {
  const name = randomUUID().slice(0, 8);
  return Array.from({ length: count }, (_, index) => `${name}-${index}`);
}

export const gatewaysOf = (system: System): string[] => system.processes('flash-sale').map(({ url }) => url);

export interface Bought {
  readonly userId: string;
  readonly answer: Answer;
}

/** Whether an overloaded gateway rejected the request before any work. */
const isShed = ({ status, text }: Answer) => status === 503 && text.includes('Too many requests at once');

/** Buyers that log every response for the checker. */
export class Buyers {
  readonly log = new Map<string, { userId: string; saleId: string; answers: BuyerAnswer[] }>();

  /** Repeats the request while the gateway is too busy to decide. */
  async buy(url: string, saleId: string, userId: string, headers?: Readonly<Record<string, string>>): Promise<Answer> {
    const answer = await eventually(
      async () => {
        const given = await buy(url, saleId, userId, headers);
        return !isShed(given) && given;
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
    logged.answers.push(status < 300 ? { status, ...answer.json(schemas.purchase) } : { status });
    return answer;
  }

  /** All users buy at once, each at the next gateway. A user may be listed several times. */
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

/** Responses by status, and rejections also by problem, such as `{ 202: 5, '429 queue-full': 3 }`. */
export function countByResult(bought: readonly Bought[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { answer } of bought) {
    const problem = answer.status < 400 ? '' : ` ${answer.json(schemas.problem).type.replace('/problems/', '')}`;
    const kind = `${answer.status}${problem}`;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

export const admittedOf = (bought: readonly Bought[]) => bought.filter(({ answer }) => answer.status === 202);

/** stock = remaining + held + sold, admitted = held + ordered + released, and the queue within its cap. */
export function expectBalanced({ stock, counts, queue }: FlashSale): void {
  expect(stock.initial).toBe(stock.remaining + stock.held + stock.sold);
  expect(counts.admitted).toBe(stock.held + counts.ordered + counts.released);
  expect(counts.ordered).toBe(stock.sold);
  expect(Math.min(stock.remaining, stock.held, stock.sold, queue.length)).toBeGreaterThanOrEqual(0);
  expect(queue.length).toBeLessThanOrEqual(queue.cap);
  expect(queue.length).toBeLessThanOrEqual(stock.held);
}

/** Waits until no unit is held: every ticket is ordered, released or failed. */
export const over = (url: string, saleId: string, timeoutMs = 60_000): Promise<FlashSale> =>
  eventually(
    async () => {
      const sale = await readSale(url, saleId);
      expectBalanced(sale);
      expect(sale.stock.held).toBe(0);
      return sale;
    },
    { what: 'no unit is held', timeoutMs },
  );

export interface Watch {
  /** Resolves with the length of the longest queue that was read. */
  stop(): Promise<number>;
}

/** Reads the sale continuously, at each gateway in turn, and checks its totals every time. */
export function watch(gateways: readonly string[], saleId: string): Watch {
  let stopped = false;
  let longest = 0;
  const watching = (async () => {
    for (let turn = 0; !stopped; turn++) {
      const sale = await readSale(gateways[turn % gateways.length] as string, saleId);
      expectBalanced(sale);
      longest = Math.max(longest, sale.queue.length);
    }
  })();
  watching.catch(() => undefined); // stop() rejects with it
  return {
    async stop() {
      stopped = true;
      await watching;
      return longest;
    },
  };
}

/** The Accept header of a browser. */
export const asBrowser = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

export const buyByForm = (url: string, saleId: string, fields: Readonly<Record<string, string>>) =>
  call(`${url}/flash-sales/${saleId}/purchases`, {
    method: 'POST',
    headers: { ...asBrowser, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(fields).toString(),
  });
