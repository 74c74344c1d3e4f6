// A sale that costs nothing, to show what the load generator itself can do: a node:http server that decides about
// purchases in memory, with the same statuses and Retry-After, and drains its queue exactly at the rate. A process of
// its own: it reports its URL, opens a sale at each message, and replies with its orders' times when asked for them.
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { v7 as uuidv7 } from 'uuid';
import type { Purchase, Rejection } from '../../contracts/flash-sales.ts';
import { Problem } from '../../infra/http/problem.ts';
import { retryAfterSeconds, type Snapshot } from '../../services/flash-sale/flash-sale.ts';
import { rejectionMessage } from '../../services/flash-sale/pages/messages.ts';

export interface PerfectSale {
  readonly stock: number;
  readonly queueCap: number;
  readonly drainPerSecond: number;
  /** By Date.now(). */
  readonly opensAt: number;
}
export type Command = { readonly open: PerfectSale } | { readonly report: true };
/** Milliseconds after the opening, one for each order. */
export type OrderTimes = readonly number[];

const DRAIN_EVERY_MS = 5;
const statuses: Record<Rejection, number> = { 'queue-full': 429, 'sold-out': 409, 'not-open': 409 };
const problemOf = (rejection: Rejection) =>
  new Problem(statuses[rejection], rejection, rejectionMessage(rejection, 'open'));
const problems: Record<Rejection, Problem> = {
  'queue-full': problemOf('queue-full'),
  'sold-out': problemOf('sold-out'),
  'not-open': problemOf('not-open'),
};

class Sale {
  readonly #sale: PerfectSale;
  /** By user; at most `stock`. */
  readonly #tickets = new Map<string, Purchase>();
  readonly #orderTimes: number[] = [];
  readonly #timer = setInterval(() => this.#drain(), DRAIN_EVERY_MS);
  /** Orders that are due and not taken yet; at most one while the queue is empty. */
  #due = 0;
  #drainedAt = 0;

  constructor(sale: PerfectSale) {
    this.#sale = sale;
    this.#drainedAt = sale.opensAt;
  }

  get orderTimes(): OrderTimes {
    return this.#orderTimes;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  buy(userId: string, response: ServerResponse): void {
    const known = this.#tickets.get(userId);
    const rejection = known ? undefined : this.#rejection();
    if (rejection) {
      const seconds = retryAfterSeconds(rejection, this.#snapshot, Math.random());
      problems[rejection].send(response, seconds === undefined ? {} : { 'Retry-After': seconds });
      return;
    }
    const ticketId = uuidv7();
    const purchase = known ?? { ticketId, position: this.#queued + 1, statusUrl: `/tickets/${ticketId}` };
    this.#tickets.set(userId, purchase);
    const body = JSON.stringify(purchase);
    const length = Buffer.byteLength(body);
    response.writeHead(known ? 200 : 202, { 'Content-Type': 'application/json', 'Content-Length': length }).end(body);
  }

  get #snapshot(): Snapshot {
    const { stock, queueCap, drainPerSecond, opensAt } = this.#sale;
    const opensInMs = opensAt - Date.now();
    const remaining = stock - this.#tickets.size;
    const status = opensInMs > 0 ? 'scheduled' : remaining === 0 ? 'sold-out' : 'open';
    return { status, remaining, queued: this.#queued, queueCap, drainPerSecond, opensInMs };
  }

  get #queued(): number {
    return this.#tickets.size - this.#orderTimes.length;
  }

  #rejection(): Rejection | undefined {
    const { stock, queueCap, opensAt } = this.#sale;
    if (Date.now() < opensAt) return 'not-open';
    if (this.#tickets.size >= stock) return 'sold-out';
    return this.#queued >= queueCap ? 'queue-full' : undefined;
  }

  #drain(): void {
    const { drainPerSecond, opensAt } = this.#sale;
    const now = Date.now();
    if (now < opensAt) return;
    this.#due += ((now - this.#drainedAt) * drainPerSecond) / 1_000;
    this.#drainedAt = now;
    for (; this.#due >= 1 && this.#queued > 0; this.#due--) this.#orderTimes.push(now - opensAt);
    if (this.#queued === 0) this.#due = Math.min(1, this.#due);
  }
}

let sale: Sale | undefined;
const server = createServer((request, response) => {
  let body = '';
  request.setEncoding('utf8').on('data', (chunk: string) => {
    body += chunk;
  });
  request.on('end', () => {
    if (request.method === 'POST' && sale) sale.buy(JSON.parse(body).userId, response);
    else response.writeHead(200, { 'Content-Length': 2 }).end('{}');
  });
});
server.listen(0, '127.0.0.1', () => process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
process.on('message', (command: Command) => {
  if ('report' in command) process.send?.(sale?.orderTimes ?? []);
  else {
    sale?.close();
    sale = new Sale(command.open);
  }
});
process.on('disconnect', () => {
  sale?.close();
  server.close();
  server.closeAllConnections();
});
