// Runs and measures three strategies for handling an order, one at a time in this process, on the same data folder and
// with the same handlers and the same work.
import { rm } from 'node:fs/promises';
import { type RunningSluice, startSluice } from '../../app/start.ts';
import { serverFolder } from '../shared/folder.ts';
import { withProgress } from '../shared/terminal.ts';
import { differences, type Effects, readEffects } from './effects.ts';
import { type Measured, measure, totalOrders } from './measure.ts';
import { startSynchronous } from './synchronous.ts';

export type Comparison = Awaited<ReturnType<typeof compare>>;
export type Measurement = Measured & { readonly strategy: string; readonly effects: Effects };

const starts: readonly [strategy: string, start: (env: NodeJS.ProcessEnv) => Promise<RunningSluice>][] = [
  ['in sequence', (env) => startSynchronous(env, 'sequence')],
  ['in parallel', (env) => startSynchronous(env, 'parallel')],
  ['over the bus', (env) => startSluice({ env })],
];

/**
 * `workMs`: the duration of each of the three steps. `orders`: how many each client places, first one client alone, then
 * `clients` at once.
 * `differences` in the stored effects make the comparison invalid; the list is empty if there are none.
 */
export async function compare(
  { workMs, orders, clients }: { workMs: number; orders: number; clients: number },
  signal: AbortSignal,
) {
  const dataDir = await serverFolder('compare');
  try {
    // Without this process's environment: the embedded system runs with its defaults.
    const env = { DATA_DIR: dataDir, PORT: '0', MQTT_PORT: '0', STEP_LATENCY_MS: String(workMs), LOG_LEVEL: 'error' };
    const total = totalOrders({ orders, clients });
    const strategies: Measurement[] = [];
    for (const [strategy, start] of starts) {
      signal.throwIfAborted();
      await withProgress(strategy.padEnd(12), total, async (update) => {
        let placed = 0;
        const running = await start(env);
        try {
          const shop = { url: running.url, userId: `customer-${strategies.length + 1}` };
          const measured = await measure(shop, { orders, clients, onOrder: () => update(++placed), signal });
          strategies.push({ strategy, ...measured, effects: await readEffects(shop, signal) });
        } finally {
          await running.stop();
        }
      });
    }
    const stored = strategies.map(({ effects }) => effects);
    return { workMs, orders, clients, strategies, differences: differences(stored, total) };
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}
