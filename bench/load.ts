// The benchmark's side of the load generator.
import type { ChildProcess } from 'node:child_process';
import type { Command, Sample } from './generator.ts';
import { endChild, forkScript } from './peer.ts';

/** Connections that the generator keeps busy: as many orders are unanswered at a time. */
export const CONNECTIONS = 128;
/** Longer than the slowest burst. */
const ANSWER_WITHIN_MS = 120_000;

export class Load {
  readonly #child: ChildProcess = forkScript('generator.js');

  /** Counts from zero again. */
  open(url: string): void {
    this.#tell({ type: 'open', url: `${url}/orders`, connections: CONNECTIONS });
  }

  /** Orders may be sent until there are `upTo` since `open`. */
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

  close(): Promise<void> {
    return endChild(this.#child);
  }

  #until(upTo: number): Promise<Sample> {
    const answer = this.#receive(({ type, allowed }) => type === 'idle' && allowed === upTo);
    this.allow(upTo);
    return answer;
  }

  #tell(command: Command): void {
    this.#child.send(command);
  }

  /** Rejects where the generator ended, an order was refused, or nothing comes in time. */
  #receive(isAnswer: (sample: Sample) => boolean): Promise<Sample> {
    return new Promise((resolve, reject) => {
      const settle = (work: () => void) => {
        clearTimeout(timer);
        this.#child.off('message', onMessage);
        this.#child.off('exit', onExit);
        work();
      };
      const onMessage = (sample: Sample) => {
        if (!isAnswer(sample)) return;
        const refused = Object.entries(sample.refused).map(([status, count]) => `${count} with ${status}`);
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
