// The benchmark's side of the load generator.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Command, Sample } from './generator.ts';

/** Connections that the generator keeps busy: as many orders are unanswered at a time. */
export const CONNECTIONS = 128;
const ANSWER_WITHIN_MS = 60_000;

export class Load {
  readonly #child: ChildProcess;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('generator.js', import.meta.url)));
  }

  /** Connects, and counts from zero. Not to be kept waiting: servers end connections that are idle for seconds. */
  open(url: string): void {
    this.#tell({ type: 'open', url: `${url}/orders`, connections: CONNECTIONS });
  }

  allow(upTo: number): void {
    this.#tell({ type: 'allow', upTo });
  }

  sample(): Promise<Sample> {
    this.#tell({ type: 'sample' });
    return this.#receive('sample');
  }

  /** Sends what is allowed up to now and no more; resolves when all of it is answered. */
  async finish(): Promise<Sample> {
    this.allow(0);
    return this.#receive('idle', 0);
  }

  /** Sends this many after `open`; resolves when all are answered. */
  send(count: number): Promise<Sample> {
    this.allow(count);
    return this.#receive('idle', count);
  }

  async close(): Promise<void> {
    this.#child.disconnect();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }

  #tell(command: Command): void {
    this.#child.send(command);
  }

  /** Rejects where the generator ended, an order was refused, or nothing comes in time. */
  #receive(type: Sample['type'], allowed?: number): Promise<Sample> {
    return new Promise((resolve, reject) => {
      const settle = (work: () => void) => {
        clearTimeout(timer);
        this.#child.off('message', onMessage);
        this.#child.off('exit', onExit);
        work();
      };
      const onMessage = (sample: Sample) => {
        if (sample.type !== type || (allowed !== undefined && sample.allowed !== allowed)) return;
        const refused = Object.entries(sample.refused).map(([status, count]) => `${count} × ${status}`);
        settle(() => (refused.length > 0 ? reject(new Error(`orders were refused: ${refused}`)) : resolve(sample)));
      };
      const onExit = () => settle(() => reject(new Error('the load generator ended')));
      const timer = setTimeout(
        () => settle(() => reject(new Error(`no answer from the load generator within ${ANSWER_WITHIN_MS} ms`))),
        ANSWER_WITHIN_MS,
      );
      this.#child.on('message', onMessage);
      this.#child.on('exit', onExit);
    });
  }
}
