// Compares strategies of enforcing the cap of a flash sale: each gets the same bursts, and then the disturbances that
// it is most likely to meet.
import { note } from '../../demos/shared/terminal.ts';
import { startPostgres } from '../../test/servers/postgres.ts';
import { startRabbitmq } from '../../test/servers/rabbitmq.ts';
import { startRedis } from '../../test/servers/redis.ts';
import { ServerGroup } from '../../test/servers/server.ts';
import { disturbances } from './disturbances.ts';
import type { Target } from './gateway.ts';
import { BUYERS, GATEWAYS, Gateways, openSale } from './gateways.ts';
import { rabbitmqVersion } from './rabbitmq.ts';
import { redisVersion } from './redis.ts';
import { postgresVersion } from './row.ts';
import { type StrategyName, strategies } from './strategies.ts';

/** Above the cap, so that the cap is the limit, and below it, so that the stock is. */
const STOCKS = [1_000, 60];

/** Starts private servers and ends them, also on an error. `rounds`: how often each burst runs, on a fresh sale each. */
export async function compareAdmission({ rounds }: { rounds: number }) {
  note('starting RabbitMQ, Redis and PostgreSQL …');
  const group = new ServerGroup();
  const gateways = new Gateways();
  try {
    // One after the other: a start that fails leaves nothing behind.
    const rabbitmq = group.add(await startRabbitmq());
    const redis = group.add(await startRedis());
    const postgres = group.add(await startPostgres());
    const servers = { rabbitmq, redis, postgres };
    const urls = { rabbitmq: rabbitmq.amqpUrl, redis: redis.redisUrl, postgres: postgres.url };
    const open = (name: StrategyName, stock: number) => openSale(name, urls[strategies[name].server], stock);

    const bursts = [];
    for (const strategy of Object.keys(strategies) as StrategyName[]) {
      note(`${strategies[strategy].title} …`);
      for (const stock of STOCKS) {
        // The first burst does not count: code runs for the first time in it, here and in the servers.
        await burst(gateways, await open(strategy, stock));
        const results = [];
        for (let round = 1; round <= rounds; round++) results.push(await burst(gateways, await open(strategy, stock)));
        bursts.push({ strategy, stock, rounds: results });
      }
    }
    const disturbed = [];
    for (const { strategy, what, stock, run } of disturbances) {
      note(`disturbance ${disturbed.length + 1} of ${disturbances.length} …`);
      const outcome = await run(await open(strategy, stock), gateways, servers[strategies[strategy].server]);
      disturbed.push({ strategy, what, stock, longest: outcome.admitted, ...outcome });
    }
    const versions = [rabbitmqVersion(urls.rabbitmq), redisVersion(urls.redis), postgresVersion(urls.postgres)];
    return { versions: await Promise.all(versions), buyers: BUYERS, gateways: GATEWAYS, bursts, disturbed };
  } finally {
    await gateways.close();
    await group.stop();
  }
}

/** No buyer leaves the queue meanwhile, so its length at the end is its longest. */
async function burst(gateways: Gateways, target: Target) {
  const { admitted, elapsedMs } = await gateways.burst(target);
  const queued = await strategies[target.strategy].queued(target.url, target.sale);
  return { admitted, queued, decisionsPerSecond: (BUYERS / elapsedMs) * 1_000 };
}
