// The crowd of `sluice flash-sale` visits a sale, here or at the perfect server, and counts its responses.
import { mulberry32, planOf } from '../../demos/flash-sale/arrivals.ts';
import { Counters } from '../../demos/flash-sale/counters.ts';
import { Crowd } from '../../demos/flash-sale/crowd.ts';
import { CONNECTIONS, PurchaseClient, purchaseOutcomes } from '../../demos/flash-sale/purchases.ts';
import { latencyOf } from '../../demos/shared/statistics.ts';
import { using } from '../using.ts';

/** As the command's defaults. */
const PERSONS = { seed: 7, repeat: 5, patience: 3 };
/** Between the creation of a sale and its opening. */
const OPENS_AFTER_MS = 1_500;

export interface CrowdSize {
  readonly buyers: number;
  /** All make their first visit within this time. */
  readonly seconds: number;
}

/** `open` creates the sale and resolves with its id; `opensAt` is by Date.now(). Resolves when all buyers have left. */
export const visit = (
  url: string,
  { buyers: size, seconds }: CrowdSize,
  open: (opensAt: number) => Promise<string>,
): Promise<Visit> =>
  using(
    new PurchaseClient(url, CONNECTIONS),
    (client) => client.close(),
    async (client) => {
      const { buyers, visits } = planOf({ ...PERSONS, buyers: size, seconds });
      const counters = new Counters(size);
      await client.connect(CONNECTIONS);
      const opensAt = Date.now() + OPENS_AFTER_MS;
      const openingAt = performance.now() + OPENS_AFTER_MS;
      const saleId = await open(opensAt);
      const random = mulberry32(PERSONS.seed + 1);
      const cpu = process.cpuUsage();
      const crowd = new Crowd({ buyers, client, saleId, counters, openingAt, random });
      await crowd.run(visits, new AbortController().signal);
      const { user, system } = process.cpuUsage(cpu);
      return {
        opensAt,
        responses: Object.fromEntries(purchaseOutcomes.map((outcome) => [outcome, counters.countOf(outcome)])),
        responseMs: latencyOf(purchaseOutcomes.flatMap((outcome) => counters.responses[outcome].latencyMs)),
        sendDelayMs: latencyOf(counters.sendDelayMs),
        generatorCpu: (user + system) / 1_000 / (performance.now() - openingAt),
      };
    },
  );

export interface Visit {
  /** By Date.now(). */
  readonly opensAt: number;
  readonly responses: Readonly<Record<string, number>>;
  /** Of all responses, from the planned arrival. */
  readonly responseMs: ReturnType<typeof latencyOf>;
  readonly sendDelayMs: ReturnType<typeof latencyOf>;
  /** Share of one CPU. */
  readonly generatorCpu: number;
}
