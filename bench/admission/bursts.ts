// What each way does with a burst while nothing happens to it. Nobody leaves the queue meanwhile.
import { v7 as uuidv7 } from 'uuid';
import type { Gateways, Target } from './gateways.ts';
import type { Servers } from './servers.ts';
import type { Sale } from './way.ts';
import { type WayName, ways } from './ways.ts';

export interface BurstResult {
  readonly admitted: number;
  /** The server's own count of the queue at the end: its longest, as nobody leaves it. */
  readonly queued: number;
  readonly decisionsPerSecond: number;
}

/** A fresh sale, and one to practise on that has room for everyone. */
export async function openSale(servers: Servers, way: WayName, stock: number, cap: number): Promise<Target> {
  const { url } = servers.of(way);
  const sale: Sale = { id: uuidv7(), stock, cap };
  const practice: Sale = { id: uuidv7(), stock: 1_000_000, cap: 1_000_000 };
  await ways[way].open(url, practice);
  await ways[way].open(url, sale);
  return { way, url, sale, practice };
}

export async function measureBurst(gateways: Gateways, target: Target, buyers: number): Promise<BurstResult> {
  const { admitted, elapsedMs } = await gateways.burst(target, buyers);
  return {
    admitted,
    queued: await ways[target.way].queued(target.url, target.sale),
    decisionsPerSecond: (buyers / elapsedMs) * 1_000,
  };
}
