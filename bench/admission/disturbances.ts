// What each way does when something happens in mid-sale. Buyers who were told that they are in count, whatever the
// server remembers of them.
import { openSale } from './bursts.ts';
import { type Gateways, killedAfterDeciding } from './gateways.ts';
import { holdMessages } from './rabbitmq.ts';
import { completeWork, counted, withRedis } from './redis-counter.ts';
import { completeTickets, countTickets } from './row.ts';
import type { Servers } from './servers.ts';
import { type WayName, ways } from './ways.ts';

export interface Disturbed {
  readonly way: WayName;
  readonly what: string;
  readonly stock: number;
  readonly cap: number;
  /** Buyers who were told that they are in. */
  readonly admitted: number;
  /** Of those, at the most at a time in the queue. */
  readonly longest: number;
  readonly note: string;
}

interface Experiment {
  readonly servers: Servers;
  readonly gateways: Gateways;
  readonly buyers: number;
  readonly cap: number;
}

export type Disturbance = (experiment: Experiment) => Promise<Disturbed>;

/** More than the cap, and less than twice that: so that too many places become too many units as well. */
const scarce = (cap: number) => Math.floor(cap * 1.5);
const plenty = (cap: number) => cap * 10;
const few = (cap: number) => Math.floor(cap / 10);

const heldByConsumer =
  (way: 'rabbitmq-quorum' | 'rabbitmq-classic'): Disturbance =>
  async ({ servers, gateways, buyers, cap }) => {
    const target = await openSale(servers, way, plenty(cap), cap);
    const prefetch = Math.floor(cap / 2);
    const holder = await holdMessages(target.url, target.sale, prefetch);
    try {
      const { admitted } = await gateways.burst(target, buyers);
      const ready = await ways[way].queued(target.url, target.sale);
      return {
        ...{ way, what: `a consumer works on ${prefetch}`, stock: target.sale.stock, cap, admitted },
        longest: ready + holder.held,
        note: `${ready} ready + ${holder.held} unacknowledged`,
      };
    } finally {
      await holder.close();
    }
  };

const flushed: Disturbance = async ({ servers, gateways, buyers, cap }) => {
  const target = await openSale(servers, 'redis-counter', scarce(cap), cap);
  const { admitted: before } = await gateways.burst(target, buyers);
  await withRedis(target.url, (redis) => redis.flushall());
  const { admitted: after } = await gateways.burst(target, buyers);
  return {
    ...{ way: 'redis-counter', what: 'FLUSHALL', stock: target.sale.stock, cap, admitted: before + after },
    longest: before + after,
    note: `${before} before, ${after} after; the counter says ${await counted(target.url, target.sale)}`,
  };
};

const restored: Disturbance = async ({ servers, gateways, buyers, cap }) => {
  const target = await openSale(servers, 'redis-counter', scarce(cap), cap);
  const { admitted: early } = await gateways.burst(target, few(cap) * 2);
  await withRedis(target.url, (redis) => redis.save());
  const { admitted: late } = await gateways.burst(target, buyers);
  await servers.redis.kill('SIGKILL');
  await servers.redis.restart();
  const found = await counted(target.url, target.sale);
  const { admitted: after } = await gateways.burst(target, buyers);
  const admitted = early + late + after;
  return {
    ...{ way: 'redis-counter', what: 'killed, back with an older copy', stock: target.sale.stock, cap, admitted },
    longest: admitted,
    note: `${early + late} before, found ${found} in the copy, ${after} after`,
  };
};

const clientKilledCounting: Disturbance = async ({ servers, gateways, buyers, cap }) => {
  const target = await openSale(servers, 'redis-counter', plenty(cap), cap);
  const lost = await killedAfterDeciding(target, few(cap));
  const { admitted: first } = await gateways.burst(target, buyers);
  const done = await completeWork(target.url, target.sale);
  const left = await counted(target.url, target.sale);
  const { admitted: second } = await gateways.burst(target, buyers);
  return {
    ...{ way: 'redis-counter', what: 'a gateway killed after counting' },
    ...{ stock: target.sale.stock, cap, admitted: lost + first + second },
    longest: lost + first,
    note: `all ${done} jobs done, the counter says ${left}: only ${second} places left, for good`,
  };
};

const databaseKilled: Disturbance = async ({ servers, gateways, buyers, cap }) => {
  const target = await openSale(servers, 'row', scarce(cap), cap);
  const { admitted: before } = await gateways.burst(target, cap / 2);
  await servers.postgres.kill('SIGKILL');
  await servers.postgres.restart();
  const { admitted: after } = await gateways.burst(target, buyers);
  return {
    ...{ way: 'row', what: 'PostgreSQL killed and restarted', stock: target.sale.stock, cap, admitted: before + after },
    longest: await ways.row.queued(target.url, target.sale),
    note: `${before} before, ${after} after; ${await countTickets(target.url, target.sale)} tickets`,
  };
};

const clientKilledCommitted: Disturbance = async ({ servers, gateways, buyers, cap }) => {
  const target = await openSale(servers, 'row', plenty(cap), cap);
  const unanswered = await killedAfterDeciding(target, few(cap));
  const { admitted: first } = await gateways.burst(target, buyers);
  const longest = await ways.row.queued(target.url, target.sale);
  const done = await completeTickets(target.url, target.sale);
  const { admitted: second } = await gateways.burst(target, buyers);
  return {
    ...{ way: 'row', what: 'a gateway killed after its commit', stock: target.sale.stock, cap },
    ...{ admitted: unanswered + first + second, longest },
    note: `all ${done} tickets found and done, ${unanswered} of the killed gateway: ${second} places again`,
  };
};

export const disturbances: readonly Disturbance[] = [
  heldByConsumer('rabbitmq-quorum'),
  heldByConsumer('rabbitmq-classic'),
  flushed,
  restored,
  clientKilledCounting,
  databaseKilled,
  clientKilledCommitted,
];
