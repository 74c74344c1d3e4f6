// How each strategy copes with a failure during a sale. Every buyer that was told "admitted" counts, even if the server
// has forgotten it.
import type { LocalServer } from '../../test/servers/server.ts';
import type { Target } from './gateway.ts';
import { CAP, type Gateways, killedAfterDeciding } from './gateways.ts';
import { whileHolding } from './rabbitmq.ts';
import { completeWork, counted, withRedis } from './redis.ts';
import { completeTickets, countTickets } from './row.ts';
import { type StrategyName, strategies } from './strategies.ts';

/**
 * `server`: the strategy's. Resolves with the number of buyers that were told they are admitted. `longest`: the most of
 * them in the queue at a time; left out if that is all of them.
 */
type Run = (
  target: Target,
  gateways: Gateways,
  server: LocalServer,
) => Promise<{ admitted: number; longest?: number; note: string }>;

/** Above the cap and below twice the cap, so that too many admissions are too many units as well. */
const SCARCE = CAP * 1.5;
const PLENTY = CAP * 10;
const FEW = CAP / 10;
const PREFETCH = CAP / 2;

const queued = ({ strategy, url, sale }: Target) => strategies[strategy].queued(url, sale);

const consumer: { what: string; stock: number; run: Run } = {
  what: `a consumer works on ${PREFETCH}`,
  stock: PLENTY,
  run: (target, gateways) =>
    whileHolding(target.url, target.sale, PREFETCH, async (held) => {
      const admitted = await gateways.admit(target);
      const ready = await queued(target);
      return { admitted, longest: ready + held(), note: `${ready} ready + ${held()} unacknowledged` };
    }),
};

export const disturbances: readonly ({ strategy: StrategyName } & typeof consumer)[] = [
  { strategy: 'rabbitmq-quorum', ...consumer },
  { strategy: 'rabbitmq-classic', ...consumer },
  {
    strategy: 'redis-counter',
    what: 'FLUSHALL',
    stock: SCARCE,
    async run(target, gateways) {
      const before = await gateways.admit(target);
      await withRedis(target.url, (redis) => redis.flushall());
      const after = await gateways.admit(target);
      const left = await counted(target.url, target.sale);
      return { admitted: before + after, note: `${before} before, ${after} after; the counter says ${left}` };
    },
  },
  {
    strategy: 'redis-counter',
    what: 'killed, back with an older copy',
    stock: SCARCE,
    async run(target, gateways, server) {
      const saved = await gateways.admit(target, FEW * 2);
      await withRedis(target.url, (redis) => redis.save());
      const before = saved + (await gateways.admit(target));
      await killAndRestart(server);
      const found = await counted(target.url, target.sale);
      const after = await gateways.admit(target);
      return { admitted: before + after, note: `${before} before, found ${found} in the copy, ${after} after` };
    },
  },
  {
    strategy: 'redis-counter',
    what: 'a gateway killed after counting',
    stock: PLENTY,
    async run(target, gateways) {
      const longest = (await killedAfterDeciding(target, FEW)) + (await gateways.admit(target));
      const done = await completeWork(target.url, target.sale);
      const left = await counted(target.url, target.sale);
      const again = await gateways.admit(target);
      const note = `all ${done} jobs done, the counter says ${left}: only ${again} places left, for good`;
      return { admitted: longest + again, longest, note };
    },
  },
  {
    strategy: 'row',
    what: 'PostgreSQL killed and restarted',
    stock: SCARCE,
    async run(target, gateways, server) {
      const before = await gateways.admit(target, CAP / 2);
      await killAndRestart(server);
      const after = await gateways.admit(target);
      const tickets = await countTickets(target.url, target.sale);
      const note = `${before} before, ${after} after; ${tickets} tickets`;
      return { admitted: before + after, longest: await queued(target), note };
    },
  },
  {
    strategy: 'row',
    what: 'a gateway killed after its commit',
    stock: PLENTY,
    async run(target, gateways) {
      const withoutResponse = await killedAfterDeciding(target, FEW);
      const first = await gateways.admit(target);
      const longest = await queued(target);
      const done = await completeTickets(target.url, target.sale);
      const again = await gateways.admit(target);
      const note = `all ${done} tickets found and done, ${withoutResponse} of the killed gateway: ${again} places again`;
      return { admitted: withoutResponse + first + again, longest, note };
    },
  },
];

async function killAndRestart(server: LocalServer): Promise<void> {
  await server.kill('SIGKILL');
  await server.restart();
}
