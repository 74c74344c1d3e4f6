// The three ways of handling an order, each running for real in this process while it is measured: the same database
// folder, the same handlers, the same work.
import { rm } from 'node:fs/promises';
import { type RunningSluice, startSluice } from '../../app/start.ts';
import { serverFolder } from '../shared/folder.ts';
import { withProgress } from '../shared/terminal.ts';
import { differences, type Effects, readEffects } from './effects.ts';
import { type Measured, measure, totalOrders } from './measure.ts';
import { startSynchronous } from './synchronous.ts';

export interface Way extends Measured {
  readonly way: string;
  readonly effects: Effects;
}

export interface Comparison {
  /** Work in each of the three steps, in milliseconds. */
  readonly workMs: number;
  /** Of each client; there is one client first, and then `clients` at once. */
  readonly orders: number;
  readonly clients: number;
  readonly ways: readonly Way[];
  /** Why the ways cannot be compared; empty where all ended with the same. */
  readonly differences: readonly string[];
}

const starts: readonly [way: string, start: (env: NodeJS.ProcessEnv) => Promise<RunningSluice>][] = [
  ['one after the other', (env) => startSynchronous(env, 'sequence')],
  ['in parallel', (env) => startSynchronous(env, 'parallel')],
  ['over the bus', (env) => startSluice({ env })],
];

export async function compare(
  { workMs, orders, clients }: Pick<Comparison, 'workMs' | 'orders' | 'clients'>,
  signal: AbortSignal,
): Promise<Comparison> {
  const dataDir = await serverFolder('compare');
  try {
    // Nothing of this process's environment: what is compared is what runs embedded, with the defaults.
    const env = { DATA_DIR: dataDir, PORT: '0', MQTT_PORT: '0', STEP_LATENCY_MS: String(workMs), LOG_LEVEL: 'error' };
    const total = totalOrders({ orders, clients });
    const ways: Way[] = [];
    for (const [way, start] of starts) {
      signal.throwIfAborted();
      await withProgress(way.padEnd(19), total, async (update) => {
        let answered = 0;
        const running = await start(env);
        try {
          const shop = { url: running.url, userId: `customer-${ways.length + 1}` };
          const measured = await measure(shop, { orders, clients, onOrder: () => update(++answered), signal });
          ways.push({ way, ...measured, effects: await readEffects(shop, signal) });
        } finally {
          await running.stop();
        }
      });
    }
    return {
      workMs,
      orders,
      clients,
      ways,
      differences: differences(
        ways.map(({ effects }) => effects),
        total,
      ),
    };
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}
