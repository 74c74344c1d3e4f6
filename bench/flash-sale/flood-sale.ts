// A flood of purchases, and who decided about them: the sale's row or the snapshot in front of it.
import { samplesOf, totalOf } from '../../demos/shared/metrics.ts';
import { type Flooded, flood } from '../flood.ts';
import type { Load, Work } from '../load.ts';
import type { Durations } from '../measure.ts';
import { metricsOf } from '../meter.ts';
import type { System } from '../system.ts';

export interface FloodedSale extends Flooded {
  /** Share of the decisions that the sale's row made, not the snapshot. */
  readonly byRow: number;
  /** From and to, in milliseconds of this machine's clock, which its databases tell time by as well. */
  readonly time: readonly [number, number];
}

export async function floodSale(load: Load, system: System, work: Work, durations: Durations): Promise<FloodedSale> {
  const look = async () => {
    const time = Date.now();
    return { time, ...(await readDecisions(system.flashSaleUrl)) };
  };
  const { flooded, begin, end } = await flood({ load, work, pids: system.pids, durations, look });
  return {
    ...flooded,
    byRow: (end.byRow - begin.byRow) / (end.decisions - begin.decisions),
    time: [begin.time, end.time],
  };
}

async function readDecisions(url: string): Promise<{ decisions: number; byRow: number }> {
  const decisions = samplesOf(await metricsOf(url), 'sluice_flash_sale_decisions_total');
  return { decisions: totalOf(decisions), byRow: totalOf(decisions.filter(({ labels }) => labels.by === 'row')) };
}
