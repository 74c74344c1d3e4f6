// `npm run bench -- peers`: the same workflow in Sluice and in other ways, side by side: completed orders per second,
// and what is lost if a consumer is killed at full load.
import { setTimeout as delay } from 'node:timers/promises';
import { median } from '../../demos/shared/statistics.ts';
import { columns, count, note } from '../../demos/shared/terminal.ts';
import { type Moment, rateBetween, ratesOf, readEverySecond } from '../curve.ts';
import { cpuMsPer } from '../figures.ts';
import { type Durations, intervalBetween, observe } from '../flood.ts';
import { Load, ordersTo, responseCount } from '../load.ts';
import { POLL_MS } from '../metrics.ts';
import { MAX_OPEN } from '../orders/measure.ts';
import { using } from '../using.ts';
import { type Contender, type ContenderName, contenders, type Loss, startContender } from './contender.ts';

const titles: Record<ContenderName, string> = {
  sluice: 'Sluice',
  nest: 'NestJS, RabbitMQ transport',
  plain: 'amqplib, acknowledges first',
};

export interface PeerParameters {
  readonly rounds: number;
  readonly load: Durations;
  /** How often the consumer is killed at full load: once at work, then each time right after its restart. */
  readonly kills: number;
  /** Seconds at full load while it is away. */
  readonly away: number;
  /** If no order is completed for this many seconds, the rest never will be. */
  readonly settled: number;
}

/** Rounds are interleaved, so that other work of the machine affects all. */
export const comparePeers = (parameters: PeerParameters) =>
  using(
    new Load(),
    (load) => load.close(),
    async (load) => {
      const rounds: { readonly name: ContenderName; readonly measured: ContenderResult }[] = [];
      for (let round = 1; round <= parameters.rounds; round++)
        for (const name of contenders) {
          note(`round ${round} of ${parameters.rounds}: ${titles[name]} …`);
          const measured = await using(
            startContender(name),
            (contender) => contender.remove(),
            (contender) => measure(load, contender, parameters),
          );
          rounds.push({ name, measured });
        }
      return { node: process.version, parameters, rounds };
    },
  );

interface ContenderResult {
  readonly completedPerSecond: number;
  readonly cpuMsPerOrder: number;
  readonly accepted: number;
  readonly losses: Record<Loss, number>;
  readonly moments: readonly Moment[];
}

async function measure(
  load: Load,
  contender: Contender,
  { load: durations, kills, away, settled }: PeerParameters,
): Promise<ContenderResult> {
  const keepBusy = async (seconds: number) => {
    for (const until = performance.now() + seconds * 1_000; performance.now() < until; await delay(POLL_MS))
      load.allow((await contender.completed()) + MAX_OPEN);
  };
  const read = async () => ({ completed: await contender.completed() });
  await load.open(ordersTo(contender.url));
  await keepBusy(durations.warmUp);
  const begin = await observe(load, contender.pids);
  const [moments] = await Promise.all([
    readEverySecond(read, { seconds: durations.measured }),
    keepBusy(durations.measured),
  ]);
  const { cpu } = intervalBetween(begin, await observe(load, contender.pids));
  const [first, last] = [moments[0], moments.at(-1)];
  if (!first || !last) throw new Error('nothing was measured');
  const completedPerSecond = rateBetween(first, last, 'completed');

  for (let killed = 0; killed < kills; killed++) {
    await contender.consumer.kill('SIGKILL');
    await keepBusy(away);
    await contender.consumer.restart();
  }
  const accepted = responseCount(await load.send(0));
  await untilSettled(contender, accepted, settled);
  const losses = await contender.losses();
  return { completedPerSecond, cpuMsPerOrder: cpuMsPer(completedPerSecond, cpu), accepted, losses, moments };
}

/** Resolves when all orders are completed, or nothing was completed for so many seconds. */
async function untilSettled({ completed }: Contender, orders: number, seconds: number): Promise<void> {
  let [last, since] = [0, performance.now()];
  for (;;) {
    const now = await completed();
    if (now !== last) [last, since] = [now, performance.now()];
    if (now >= orders || performance.now() - since > seconds * 1_000) return;
    await delay(POLL_MS);
  }
}

export type PeerComparison = Awaited<ReturnType<typeof comparePeers>>;

export const peerCurves = ({ rounds }: PeerComparison) =>
  contenders.map((name) => ({
    title: `Completed orders per second, ${titles[name]}`,
    values: ratesOf(rounds.findLast((round) => round.name === name)?.measured.moments ?? [], 'completed'),
  }));

export function renderPeers({ node, parameters, rounds }: PeerComparison): string {
  const medianOf = (name: ContenderName, pick: (measured: ContenderResult) => number) =>
    median(rounds.filter((round) => round.name === name).map(({ measured }) => pick(measured)));
  const rate = (name: ContenderName) => medianOf(name, ({ completedPerSecond }) => completedPerSecond);
  const sum = (name: ContenderName, loss: Loss) =>
    rounds.reduce((all, round) => all + (round.name === name ? round.measured.losses[loss] : 0), 0);
  const rows = contenders.map((name) => [
    titles[name],
    count(Math.round(rate(name))),
    (rate(name) / rate('sluice')).toFixed(2),
    medianOf(name, ({ cpuMsPerOrder }) => cpuMsPerOrder).toFixed(2),
    ...(['orders', 'incomplete', 'lost', 'doubled'] as const).map((loss) => count(sum(name, loss))),
  ]);
  const head = ['', 'completed/s', '÷ Sluice', 'CPU ms each', 'orders', 'never completed', 'effects lost', 'doubled'];
  return [
    `Node ${node}; medians of the rates; the points consumer is killed ${parameters.kills} times a round at full load`,
    '',
    ...columns([head, ...rows], { align: 'right' }),
  ].join('\n');
}
