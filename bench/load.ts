// The benchmark's side of the load generator.
import { setTimeout as delay } from 'node:timers/promises';
import { forkScript } from '../demos/shared/child-process.ts';
import type { Body, Command, Sample } from './generator.ts';
import { BROKEN } from './raw-http.ts';

/** Connections that the generator keeps busy with orders: as many are unanswered at a time. */
const ORDER_CONNECTIONS = 128;
/**
 * A connection is there for its client before the server has accepted it, and Node.js accepts one in a turn of its event
 * loop: at once while it is idle, and not for seconds where a flood begins meanwhile. So it gets the time to.
 */
const ACCEPTED_WITHIN_MS = 1_000;
/** Longer than the slowest burst. */
const ANSWER_WITHIN_MS = 120_000;

/** What is sent, where to, on how many connections, and the expected statuses; any other status is a fault. */
export interface Work {
  readonly url: string;
  readonly body: Body;
  readonly connections: number;
  readonly expected: readonly number[];
}

/** Orders to the system, or to the bare route, at `url`. */
export const ordersTo = (url: string): Work => ({
  url: `${url}/orders`,
  body: 'order',
  connections: ORDER_CONNECTIONS,
  expected: [201],
});

export const answersOf = ({ answers }: Sample): number => Object.values(answers).reduce((sum, count) => sum + count, 0);

export class Load {
  readonly #child = forkScript('the load generator', new URL('generator.ts', import.meta.url));
  #expected: readonly number[] = [];

  /** Counts from zero again; resolves when all connections are there, and accepted by a server that is idle. */
  async open({ expected, ...work }: Work): Promise<void> {
    this.#expected = expected;
    const connected = this.#receive(({ type, allowed }) => type === 'idle' && allowed === 0);
    this.#tell({ type: 'open', ...work });
    await connected;
    await delay(ACCEPTED_WITHIN_MS);
  }

  /** Requests may be sent until there are `upTo` since `open`. */
  allow(upTo: number): void {
    this.#tell({ type: 'allow', upTo });
  }

  sample(): Promise<Sample> {
    const answer = this.#receive(({ type }) => type === 'sample');
    this.#tell({ type: 'sample' });
    return answer;
  }

  /** Sends `count` after `open`; resolves when all are answered. */
  send(count: number): Promise<Sample> {
    return this.#until(count);
  }

  /** Sends no more; resolves when what was sent is answered. */
  finish(): Promise<Sample> {
    return this.#until(0);
  }

  close(): Promise<unknown> {
    return this.#child.end();
  }

  #until(upTo: number): Promise<Sample> {
    const answer = this.#receive(({ type, allowed }) => type === 'idle' && allowed === upTo);
    this.allow(upTo);
    return answer;
  }

  #tell(command: Command): void {
    this.#child.send(command);
  }

  /** Rejects where the generator ended, an answer was not as expected, or nothing comes in time. */
  #receive(isAnswer: (sample: Sample) => boolean): Promise<Sample> {
    return this.#child.receive(ANSWER_WITHIN_MS, (message) => {
      const sample = message as Sample;
      if (!isAnswer(sample)) return undefined;
      const unexpected = Object.entries(sample.answers)
        .filter(([status]) => !this.#expected.includes(Number(status)))
        .map(([status, count]) => (Number(status) === BROKEN ? `${count} not at all` : `${count} with ${status}`));
      if (unexpected.length > 0) throw new Error(`answered ${unexpected}`);
      return sample;
    });
  }
}
