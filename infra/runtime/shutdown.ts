// Stops what a start has started, in reverse order, so that a start that fails leaves nothing running.
import type { Logger } from 'pino';
import { within } from './promises.ts';
import { StartupError } from './startup-error.ts';

export class Shutdown {
  readonly #log: Logger;
  readonly #steps: (() => Promise<unknown>)[] = [];
  readonly #interrupts: (() => void)[] = [];
  #done: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Whether run() has been called. */
  get begun(): boolean {
    return this.#done !== undefined;
  }

  /** Adds the step that stops the part that has just started. */
  add(step: () => Promise<unknown>): void {
    this.#steps.push(step);
  }

  /**
   * Adds what is to be called before the first step: so that work that waits for a server does not make a step wait for
   * one that is away.
   */
  onBegin(interrupt: () => void): void {
    this.#interrupts.push(interrupt);
  }

  /** Calls what onBegin() has added, before a run() that follows. */
  interrupt(): void {
    for (const interrupt of this.#interrupts.splice(0)) interrupt();
  }

  /**
   * Runs the steps, the last one first. A step that fails does not keep the others from running. Safe to call twice.
   */
  run(): Promise<void> {
    this.#done ??= this.#run();
    return this.#done;
  }

  /** Like run(), but rejects after `timeoutMs` (STOP_TIMEOUT_MS). */
  runWithin(timeoutMs: number): Promise<void> {
    const late = `the stop took longer than STOP_TIMEOUT_MS=${timeoutMs}: unfinished work is done after the next start`;
    return within(timeoutMs, this.run(), () => new StartupError(late));
  }

  async #run(): Promise<void> {
    this.interrupt();
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        this.#log.warn({ error: String(error) }, 'a part did not stop cleanly'); // the next start resumes its work
      }
    }
  }
}
