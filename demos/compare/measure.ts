// Measures a shop from outside: how soon an order is accepted, how soon it is completed, and how many orders per second
// are completed for many clients. The requests are the same for every strategy.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Order } from '../../contracts/orders.ts';
import { concurrently } from '../shared/concurrently.ts';
import { CliError } from '../shared/errors.ts';
import { HttpClient } from '../shared/http.ts';
import { mugs, placeOrder, readOrder } from '../shared/orders.ts';
import { latencyOf } from '../shared/statistics.ts';

/** Orders before the measurement, so that code is compiled and caches are filled. */
const WARM_UP = 10;
/** How often a client polls its order, and so the error of a measured completion time. */
const POLL_MS = 5;
/** The same when polling the orders of many clients, by the page. */
const CROWD_POLL_MS = 50;
/** The time limit for completion after the last response. */
const COMPLETION_TIMEOUT_MS = 60_000;

export type Measured = Awaited<ReturnType<typeof measure>>;

export interface Shop {
  readonly url: string;
  /** The user of all orders, and of no others. */
  readonly userId: string;
}

export interface Load {
  /** For each client. */
  readonly orders: number;
  readonly clients: number;
  /** Called after each order. */
  readonly onOrder: () => void;
  readonly signal: AbortSignal;
}

/** The number of orders that a shop receives. */
export const totalOrders = ({ orders, clients }: Pick<Load, 'orders' | 'clients'>) => WARM_UP + orders * (1 + clients);

/** Rejects if an order is not accepted, or not completed in time. */
export async function measure(shop: Shop, load: Load) {
  const http = new HttpClient(shop.url, load.clients);
  try {
    await oneByOne(http, shop, { ...load, orders: WARM_UP });
    return { ...(await oneByOne(http, shop, load)), completedPerSecond: await crowd(http, shop, load) };
  } finally {
    await http.close();
  }
}

/** One client with one order at a time: from the request to the end of the response, and to the order's completion. */
async function oneByOne(http: HttpClient, { userId }: Shop, { orders, onOrder, signal }: Load) {
  const responses: number[] = [];
  const completions: number[] = [];
  for (let index = 0; index < orders; index++) {
    const sentAt = performance.now();
    const order = await place(http, userId, signal);
    responses.push(performance.now() - sentAt);
    await untilCompleted(http, order, signal);
    completions.push(performance.now() - sentAt);
    onOrder();
  }
  const responseMs = latencyOf(responses);
  const completedMs = latencyOf(completions);
  if (!responseMs || !completedMs) throw new RangeError('nothing was measured');
  return { responseMs, completedMs };
}

/**
 * Each client places its next order as soon as the last one is accepted. Resolves with completed orders per second,
 * from the first request until the last order is completed.
 */
async function crowd(http: HttpClient, { userId }: Shop, { orders, clients, onOrder, signal }: Load): Promise<number> {
  const total = orders * clients;
  const startedAt = performance.now();
  await concurrently(Array(total).keys(), clients, signal, async (_, either) => {
    await place(http, userId, either);
    onOrder();
  });
  await untilAllCompleted(http, userId, signal);
  return total / ((performance.now() - startedAt) / 1_000);
}

async function place(http: HttpClient, userId: string, signal: AbortSignal): Promise<Order> {
  const placed = await placeOrder(http, { userId, currency: 'GBP', items: [...mugs] }, { key: randomUUID(), signal });
  if (placed.kind === 'placed') return placed.order;
  throw new CliError(`an order was not accepted: ${placed.kind === 'rejected' ? placed.title : placed.reason}`);
}

async function untilCompleted(http: HttpClient, order: Order, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + COMPLETION_TIMEOUT_MS;
  for (let { status } = order; status !== 'completed'; { status } = await readOrder(http, order.id, signal)) {
    if (performance.now() > deadline) throw new CliError(`order ${order.id} ${tooLate}`);
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function untilAllCompleted(http: HttpClient, userId: string, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + COMPLETION_TIMEOUT_MS;
  // The newest orders come first and are completed last, so the first page is polled until all of its orders are.
  for (let after: string | null | undefined; after !== null; ) {
    const query = { userId, limit: MAX_PAGE, after };
    const { items: orders, next } = await http.read('GET /orders', { query }, { about: `orders of ${userId}`, signal });
    if (orders.every(({ status }) => status === 'completed')) after = next;
    else if (performance.now() > deadline) throw new CliError(`orders of ${userId} ${tooLate}`);
    else await sleep(CROWD_POLL_MS, undefined, { signal });
  }
}

/** The largest page of a list. */
export const MAX_PAGE = 200;

const tooLate = `not completed ${COMPLETION_TIMEOUT_MS / 1_000} s after the last response`;
