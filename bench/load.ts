// The benchmark's side of the load generator: what it sends, which responses it expects, and its reports.
import { setTimeout as delay } from 'node:timers/promises';
import { forkScript } from '../demos/shared/child-process.ts';
import { sum } from '../demos/shared/statistics.ts';
import type { Command, Requests, Sample } from './generator.ts';
import { BROKEN } from './raw-http.ts';

/** Connections that the generator keeps busy with orders. */
const ORDER_CONNECTIONS = 128;
/** With purchases: enough to keep a server busy, few enough not to overload it. */
export const PURCHASE_CONNECTIONS = 256;
/**
 * A client has its connection before the server has accepted it. Node.js accepts one connection in each turn of its
 * event loop: at once while it is idle, but only after seconds if a flood begins meanwhile. So the server gets this
 * time.
 */
const ACCEPTED_WITHIN_MS = 1_000;
/** Longer than the slowest burst. */
const REPORT_WITHIN_MS = 120_000;

export interface Work extends Requests {
  /** Statuses; any other one is a fault. */
  readonly expected: readonly number[];
}

export const ordersTo = (url: string): Work => ({
  urls: [`${url}/orders`],
  body: 'order',
  connections: ORDER_CONNECTIONS,
  expected: [201],
});

/** Decisions: admitted, rejected by the sale (not open, sold out), queue full. No decision: the process is too busy. */
export const [ADMITTED, OVER, FULL, BUSY] = [202, 409, 429, 503] as const;

/** For bare routes, which do not look at the id. */
const ANY_SALE = '01990000-0000-7000-8000-000000000000';

export const purchasesTo = (urls: readonly string[], saleId = ANY_SALE, connections = PURCHASE_CONNECTIONS): Work => ({
  urls: urls.map((url) => `${url}/flash-sales/${saleId}/purchases`),
  body: 'purchase',
  connections,
  expected: [ADMITTED, OVER, FULL, BUSY, BROKEN],
});

export const responseCount = ({ responses }: Sample): number => sum(Object.values(responses));

export class Load {
  readonly #child = forkScript('the load generator', new URL('generator.ts', import.meta.url));
  #expected: readonly number[] = [];

  /** Counts from zero again; resolves when all connections are open, and accepted by a server that is idle. */
  async open({ expected, ...requests }: Work): Promise<void> {
    this.#expected = expected;
    await this.#request({ type: 'open', ...requests }, ({ type, allowed }) => type === 'idle' && allowed === 0);
    await delay(ACCEPTED_WITHIN_MS);
  }

  /** Allows requests until there are `upTo` since `open`. */
  allow(upTo: number): void {
    this.#child.send({ type: 'allow', upTo } satisfies Command);
  }

  /** Allows requests at this rate, until `send` or the next `open`. */
  pace(perSecond: number): void {
    this.#child.send({ type: 'pace', perSecond } satisfies Command);
  }

  sample(): Promise<Sample> {
    return this.#request({ type: 'sample' }, ({ type }) => type === 'sample');
  }

  /** Sends requests until there are `upTo` since `open` (0: no more). Resolves when every request has its response. */
  send(upTo: number): Promise<Sample> {
    return this.#request({ type: 'allow', upTo }, ({ type, allowed }) => type === 'idle' && allowed === upTo);
  }

  close(): Promise<unknown> {
    return this.#child.end();
  }

  /** Rejects if the generator ended, a response had an unexpected status, or no report comes in time. */
  #request(command: Command, isReply: (sample: Sample) => boolean): Promise<Sample> {
    return this.#child.request(command, REPORT_WITHIN_MS, (message) => {
      const sample = message as Sample;
      if (!isReply(sample)) return undefined;
      const unexpected = Object.entries(sample.responses)
        .filter(([status]) => !this.#expected.includes(Number(status)))
        .map(([status, count]) => (Number(status) === BROKEN ? `${count} × none` : `${count} × ${status}`));
      if (unexpected.length > 0) throw new Error(`unexpected responses: ${unexpected.join(', ')}`);
      return sample;
    });
  }
}
