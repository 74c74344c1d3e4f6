// What clients see of a shop: how soon an order is answered, how soon it is completed, and how many orders a crowd gets
// completed. The same requests whatever handles them: the clients cannot tell a bus from a call.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Order } from '../../contracts/orders.ts';
import { concurrently } from '../shared/concurrently.ts';
import { CliError } from '../shared/errors.ts';
import { HttpClient } from '../shared/http.ts';
import { mugs, placeOrder, readOrder } from '../shared/orders.ts';
import { type Latency, latencyOf } from '../shared/statistics.ts';
import { readPage } from './pages.ts';

/** Orders before those that count, so that code is compiled and caches are filled. */
const WARM_UP = 10;
/** How often a client asks whether its order is completed: what is measured may be late by this. */
const POLL_MS = 5;
/** The same for a crowd's orders, by the page. */
const CROWD_POLL_MS = 50;
/** The longest that orders may take after the last answer. */
const COMPLETION_TIMEOUT_MS = 60_000;

export interface Measured {
  /** One client with one order at a time, from sending the request to the end of the answer. */
  readonly answerMs: Latency;
  /** The same client, from sending the request until an answer says that the order is completed. */
  readonly completedMs: Latency;
  /** All clients at once, from the first request until the last order is completed. */
  readonly completedPerSecond: number;
}

export interface Shop {
  readonly url: string;
  /** Whose orders they all are; nobody else's. */
  readonly userId: string;
}

export interface Load {
  /** Of each client. */
  readonly orders: number;
  readonly clients: number;
  /** Called for each order, once it is answered. */
  readonly onOrder: () => void;
  readonly signal: AbortSignal;
}

/** How many orders a shop gets in all. */
export const totalOrders = ({ orders, clients }: Pick<Load, 'orders' | 'clients'>) => WARM_UP + orders * (1 + clients);

/** Rejects where an order is not accepted, or not completed in time. */
export async function measure(shop: Shop, load: Load): Promise<Measured> {
  const http = new HttpClient(shop.url, load.clients);
  try {
    await oneByOne(http, shop, { ...load, orders: WARM_UP });
    const alone = await oneByOne(http, shop, load);
    return { ...alone, completedPerSecond: await crowd(http, shop, load) };
  } finally {
    await http.close();
  }
}

async function oneByOne(http: HttpClient, { userId }: Shop, { orders, onOrder, signal }: Load) {
  const answers: number[] = [];
  const completions: number[] = [];
  for (let index = 0; index < orders; index++) {
    const sentAt = performance.now();
    const order = await place(http, userId, signal);
    answers.push(performance.now() - sentAt);
    await untilCompleted(http, order, signal);
    completions.push(performance.now() - sentAt);
    onOrder();
  }
  return { answerMs: latency(answers), completedMs: latency(completions) };
}

/** Every client places its next order as soon as the last one is answered. Resolves with completed orders per second. */
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
  // The newest come first and are completed last, so it is the first page that is asked for again and again.
  for (let after: string | null | undefined; after !== null; ) {
    const { items: orders, next } = await readPage(http, 'orders', userId, after, signal);
    if (orders.every(({ status }) => status === 'completed')) after = next;
    else if (performance.now() > deadline) throw new CliError(`orders of ${userId} ${tooLate}`);
    else await sleep(CROWD_POLL_MS, undefined, { signal });
  }
}

const tooLate = `not completed ${COMPLETION_TIMEOUT_MS / 1_000} s after the last answer`;

function latency(values: readonly number[]): Latency {
  const found = latencyOf(values);
  if (!found) throw new RangeError('nothing was measured');
  return found;
}
