// `npm run bench -- access`: what tokens cost: completed orders and decisions of a flood with AUTH_MODE=jwt, against the
// same system without access control. Each of many users has a token of its own.

import { useToken } from '../../demos/shared/credentials.ts';
import { createSale } from '../../demos/shared/flash-sales.ts';
import { HttpClient } from '../../demos/shared/http.ts';
import { median } from '../../demos/shared/statistics.ts';
import { columns, count, note } from '../../demos/shared/terminal.ts';
import { tokenOf } from '../bearer.ts';
import { cpuMsPer } from '../figures.ts';
import { type Durations, flood, rateOf } from '../flood.ts';
import { FULL, Load, PURCHASE_CONNECTIONS, purchasesTo } from '../load.ts';
import { measureSustained } from '../orders/measure.ts';
import { System } from '../system.ts';
import { using } from '../using.ts';

const authModes = ['none', 'jwt'] as const;
type AuthMode = (typeof authModes)[number];

const SECRET = 'the secret of the benchmark, which signs all tokens';
const settings = {
  none: { AUTH_MODE: 'none' },
  // Every order is counted, and none is rejected.
  jwt: { AUTH_MODE: 'jwt', AUTH_SECRET: SECRET, USER_ORDERS_PER_MINUTE: '1000000' },
} as const;

/** In a flood; few of them get a ticket. */
const BUYERS = 100_000;

/** The least ratio of jwt to none. */
const targets = { completed: 0.92, decided: 0.85 };

export interface AccessParameters {
  readonly rounds: number;
  readonly orders: Durations;
  readonly flood: Durations;
}

/** Rounds are interleaved, so that other work of the machine affects both. */
export async function compareAccess(parameters: AccessParameters) {
  useToken(tokenOf(SECRET, 'bench', ['operator']));
  const rounds: { readonly mode: AuthMode; readonly measured: Awaited<ReturnType<typeof measure>> }[] = [];
  await using(
    new Load(),
    (load) => load.close(),
    async (load) => {
      for (let round = 1; round <= parameters.rounds; round++)
        // In turns, so that neither always comes first.
        for (const mode of round % 2 === 1 ? authModes : authModes.toReversed()) {
          note(`round ${round} of ${parameters.rounds}: AUTH_MODE=${mode} …`);
          const measured = await using(
            System.start('embedded', { settings: settings[mode] }),
            (system) => system.remove(),
            (system) => measure(load, system, mode, parameters),
          );
          rounds.push({ mode, measured });
        }
    },
  );
  return { node: process.version, parameters, rounds };
}

async function measure(load: Load, system: System, mode: AuthMode, { orders, flood: durations }: AccessParameters) {
  const tokens = mode === 'jwt' ? { secret: SECRET } : {};
  const sustained = await measureSustained(load, system, orders, tokens);
  const saleId = await using(
    new HttpClient(system.flashSaleUrl),
    (http) => http.close(),
    async (http) => (await createSale(http, fullSale)).id,
  );
  const purchases = { ...purchasesTo([system.flashSaleUrl], saleId, PURCHASE_CONNECTIONS), ...tokens, users: BUYERS };
  const flooded = await flood(load, purchases, durations, { pids: system.pids });
  return {
    completedPerSecond: sustained.completedPerSecond,
    cpuMsPerOrder: cpuMsPer(sustained.completedPerSecond, sustained.cpu),
    decidedPerSecond: rateOf(flooded, FULL),
    generatorCpu: [sustained.generatorCpu, flooded.generatorCpu],
  };
}

/** Its queue is full as long as the flood lasts. */
const fullSale = {
  sku: 'SKU-1',
  name: 'White hanging heart T-light holder',
  unitPrice: 100,
  currency: 'GBP',
  stock: 1_000_000,
  queueCap: 200,
  drainPerSecond: 10,
};

export type AccessComparison = Awaited<ReturnType<typeof compareAccess>>;

export function renderAccess({ node, rounds }: AccessComparison): string {
  const of = (mode: AuthMode, pick: (measured: AccessComparison['rounds'][number]['measured']) => number) =>
    median(rounds.filter((round) => round.mode === mode).map(({ measured }) => pick(measured)));
  const row = (title: string, pick: Parameters<typeof of>[1], shown: (value: number) => string, least?: number) => {
    const [none, jwt] = [of('none', pick), of('jwt', pick)];
    const target = least === undefined ? '' : `≥ ${least}: ${jwt / none >= least ? 'met' : 'NOT MET'}`;
    return [title, shown(none), shown(jwt), (jwt / none).toFixed(3), target];
  };
  const whole = (value: number) => count(Math.round(value));
  return [
    `Node ${node}; embedded; medians of ${rounds.length / authModes.length} interleaved rounds`,
    '',
    ...columns([
      ['', 'none', 'jwt', 'jwt ÷ none', ''],
      row('completed orders/s', ({ completedPerSecond }) => completedPerSecond, whole, targets.completed),
      row(
        'CPU ms per completed order',
        ({ cpuMsPerOrder }) => cpuMsPerOrder,
        (value) => value.toFixed(2),
      ),
      row('decisions/s in a flood', ({ decidedPerSecond }) => decidedPerSecond, whole, targets.decided),
      row(
        'generator, share of one CPU',
        ({ generatorCpu }) => Math.max(...generatorCpu),
        (value) => value.toFixed(2),
      ),
    ]),
  ].join('\n');
}
