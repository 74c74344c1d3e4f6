// The simulated payment provider as a process of its own, whose behaviour a test sets and which it kills and restarts
// on the same port and ledger; or, for tests that need only a working one, inside this process.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import type { z } from 'zod';
import type { LedgerEntry } from '../../contracts/payments.ts';
import { providerHealth } from '../../contracts/payments.ts';
import { serverFolder } from '../../demos/shared/folder.ts';
import { type Behaviour, behaviour } from '../../simulators/payment-provider/behaviour.ts';
import { SimulatedProvider } from '../../simulators/payment-provider/simulated-provider.ts';
import { freePort } from '../servers/ports.ts';
import { processRunner } from '../servers/process-runner.ts';
import { type LocalServer, retryWithOtherPorts, startServer } from '../servers/server.ts';
import { call, jsonRequest, pages } from './api.ts';
import * as schemas from './schemas.ts';

const COMPILED = [fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))];
const SOURCE = ['--import', import.meta.resolve('tsx'), fileURLToPath(new URL('../../cli/main.ts', import.meta.url))];

/** PAYMENT_URL for tests without payments: no server listens there. */
export const NO_PAYMENTS = 'http://127.0.0.1:9';

export type Told = z.input<typeof behaviour>;

export interface Payments {
  readonly url: string;
  /** Sets the provider's behaviour; an omitted property behaves normally. */
  behave(told: Told): Promise<void>;
  behaviour(): Promise<Behaviour>;
  /** Number of charges and cancellations without a response. */
  underWay(): Promise<number>;
  /** The ledger entry of an order. */
  entry(orderId: string): Promise<LedgerEntry | undefined>;
  /** All ledger entries, newest first. */
  entries(): Promise<LedgerEntry[]>;
}

export interface PaymentsProcess extends Payments, Pick<LocalServer, 'kill' | 'restart' | 'stop'> {}

export interface PaymentsOptions {
  /** Further arguments of `sluice payment-provider`. */
  readonly args?: readonly string[];
  /** Runs the sources instead of the compiled program. */
  readonly source?: boolean;
}

export function startPayments({ args = [], source = false }: PaymentsOptions = {}): Promise<PaymentsProcess> {
  return retryWithOtherPorts(async () => {
    const folder = await serverFolder('payments');
    const port = await freePort();
    const payments = at(`http://127.0.0.1:${port}`);
    const runner = await processRunner(folder, {
      command: process.execPath,
      args: [...(source ? SOURCE : COMPILED), 'payment-provider', '--port', String(port), ...args],
      env: { PATH: process.env.PATH ?? '' },
    });
    const server = await startServer({
      name: 'sluice payment-provider',
      runner,
      ready: async () => {
        await payments.underWay();
      },
      cleanSignal: 'SIGTERM',
    });
    return { ...payments, kill: server.kill, restart: server.restart, stop: server.stop };
  });
}

export interface PaymentsInside extends Payments {
  /** Stops it and removes its ledger. */
  stop(): Promise<void>;
}

export async function startPaymentsInside(): Promise<PaymentsInside> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-payments-'));
  const provider = await SimulatedProvider.start({ dataDir, port: 0, log: pino({ level: 'silent' }) });
  return {
    ...at(provider.url),
    stop: async () => {
      await provider.stop();
      await rm(dataDir, { recursive: true });
    },
  };
}

function at(url: string): Payments {
  const read = (path: string) => call(`${url}${path}`, { timeoutMs: 5_000 });
  return {
    url,
    async behave(told) {
      const { status, text } = await call(`${url}/behaviour`, { ...jsonRequest(told), method: 'PUT' });
      if (status !== 200) throw new Error(`PUT /behaviour: ${status} ${text}`);
    },
    behaviour: async () => (await read('/behaviour')).json(behaviour),
    underWay: async () => (await read('/healthz')).json(providerHealth).underWay,
    async entry(orderId) {
      const answer = await read(`/charges/${orderId}`);
      return answer.status === 404 ? undefined : answer.json(schemas.ledgerEntry);
    },
    entries: async () => (await pages(`${url}/charges?limit=200`, schemas.ledgerPage)).flat(),
  };
}
