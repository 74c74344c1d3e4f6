// The simulated payment provider as a process of its own, to be told how to behave, killed and started again on the same
// port and ledger; and, for who only needs one that is well, inside this process.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { request } from 'undici';
import { z } from 'zod';
import { type LedgerEntry, ledgerEntry, ledgerPage } from '../../contracts/payments.ts';
import { serverFolder } from '../../demos/shared/folder.ts';
import { type Behaviour, behaviour } from '../../simulators/payment-provider/behaviour.ts';
import { startSimulatedProvider } from '../../simulators/payment-provider/simulated-provider.ts';
import { freePort } from '../servers/ports.ts';
import { processRunner } from '../servers/process-runner.ts';
import { type LocalServer, retryWithOtherPorts, startServer } from '../servers/server.ts';

const COMPILED = [fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))];
const SOURCE = ['--import', import.meta.resolve('tsx'), fileURLToPath(new URL('../../cli/main.ts', import.meta.url))];

/** For PAYMENT_URL where nobody pays: nothing listens there. */
export const NO_PAYMENTS = 'http://127.0.0.1:9';

export type Told = z.input<typeof behaviour>;

export interface Payments {
  readonly url: string;
  /** Behaves like this from now on; what is left out is well. */
  behave(told: Told): Promise<void>;
  behaviour(): Promise<Behaviour>;
  /** Charges and cancellations that wait to be decided or answered. */
  underWay(): Promise<number>;
  /** What its ledger hold of an order. */
  entry(orderId: string): Promise<LedgerEntry | undefined>;
  /** All of its ledger, newest first. */
  entries(): Promise<LedgerEntry[]>;
}

export interface PaymentsProcess extends Payments, Pick<LocalServer, 'kill' | 'restart' | 'stop'> {}

export interface PaymentsOptions {
  /** Further arguments of `sluice payment-provider`. */
  readonly args?: readonly string[];
  /** Runs the sources, where nothing has compiled them. */
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
      answers: async () => {
        await payments.underWay();
      },
      cleanSignal: 'SIGTERM',
    });
    return { ...payments, kill: server.kill, restart: server.restart, stop: server.stop };
  });
}

export interface PaymentsInside extends Payments {
  /** Ends it and removes its ledger. */
  stop(): Promise<void>;
}

export async function startPaymentsInside(): Promise<PaymentsInside> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-payments-'));
  const provider = await startSimulatedProvider({ dataDir, port: 0, log: pino({ level: 'silent' }) });
  return {
    ...at(provider.url),
    stop: async () => {
      await provider.close();
      await rm(dataDir, { recursive: true });
    },
  };
}

function at(url: string): Payments {
  const read = async (path: string) => {
    const { statusCode, body } = await request(`${url}${path}`, { headersTimeout: 5_000, bodyTimeout: 5_000 });
    const text = await body.text();
    if (statusCode !== 200 && statusCode !== 404) throw new Error(`GET ${path} was answered ${statusCode} ${text}`);
    return statusCode === 200 ? (JSON.parse(text) as unknown) : undefined;
  };
  return {
    url,
    async behave(told) {
      const { statusCode, body } = await request(`${url}/behaviour`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(told),
      });
      const text = await body.text();
      if (statusCode !== 200) throw new Error(`PUT /behaviour was answered ${statusCode} ${text}`);
    },
    async behaviour() {
      return behaviour.parse(await read('/behaviour'));
    },
    async underWay() {
      return z.object({ underWay: z.int() }).parse(await read('/healthz')).underWay;
    },
    async entry(orderId) {
      return ledgerEntry.optional().parse(await read(`/charges/${orderId}`));
    },
    async entries() {
      const all: LedgerEntry[] = [];
      for (let next: string | null | undefined; next !== null; ) {
        const page = ledgerPage.parse(await read(`/charges?limit=200${next === undefined ? '' : `&after=${next}`}`));
        all.push(...page.items);
        next = page.next;
      }
      return all;
    },
  };
}
