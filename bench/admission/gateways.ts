// The gateway processes: all connect first, then all start the burst at the same time.
import { v7 as uuidv7 } from 'uuid';
import { type Child, forkScript } from '../../demos/shared/child-process.ts';
import { sum } from '../../demos/shared/statistics.ts';
import { using } from '../using.ts';
import type { Command, Target } from './gateway.ts';
import { type StrategyName, strategies } from './strategies.ts';

export const GATEWAYS = 4;
export const BUYERS = 1_000;
export const CAP = 100;
/** Longer than the slowest burst. */
const REPLY_WITHIN_MS = 60_000;

export async function openSale(strategy: StrategyName, url: string, stock: number): Promise<Target> {
  const sale = { id: uuidv7(), stock, cap: CAP };
  await strategies[strategy].open(url, sale);
  return { strategy, url, sale };
}

export class Gateways {
  readonly #children = Array.from({ length: GATEWAYS }, forkGateway);

  /** Shares the buyers among the processes. `elapsedMs`: from the common start until the last decision. */
  async burst(target: Target, buyers = BUYERS): Promise<{ admitted: number; elapsedMs: number }> {
    const children = this.#children;
    await Promise.all(children.map((child) => tell(child, { type: 'open', target })));
    const startedAt = performance.now();
    const share = (index: number) => Math.floor((buyers + index) / children.length); // they add up to `buyers`
    const counts = await Promise.all(
      children.map((child, index) => tell(child, { type: 'burst', buyers: share(index) })),
    );
    return { admitted: sum(counts), elapsedMs: performance.now() - startedAt };
  }

  async admit(target: Target, buyers = BUYERS): Promise<number> {
    return (await this.burst(target, buyers)).admitted;
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.end()));
  }
}

/** Kills a gateway between the decisions about its buyers and their work. Resolves with the number admitted. */
export const killedAfterDeciding = (target: Target, buyers: number): Promise<number> =>
  using(
    forkGateway(),
    (child) => child.end('SIGKILL'),
    async (child) => {
      await tell(child, { type: 'open', target });
      return tell(child, { type: 'decide-only', buyers });
    },
  );

/** Rejects if the process ended, or does not reply in time. */
const tell = (child: Child, command: Command) => child.request<number>(command, REPLY_WITHIN_MS);

const forkGateway = () => forkScript('a gateway', new URL('gateway.ts', import.meta.url));
