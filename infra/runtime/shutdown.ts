// The steps that end what a start has begun, in the reverse order: a start that fails leaves nothing behind.
import type { Logger } from 'pino';
import { within } from './promises.ts';
import { StartupError } from './startup-error.ts';

export class Shutdown {
  readonly #log: Logger;
  readonly #steps: (() => Promise<unknown>)[] = [];
  #done: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Whether it has begun. */
  get begun(): boolean {
    return this.#done !== undefined;
  }

  /** Adds what ends the part that was just started. */
  add(step: () => Promise<unknown>): void {
    this.#steps.push(step);
  }

  /** Runs the steps, the last one first. A step that fails does not keep the others from running. Safe to call twice. */
  run(): Promise<void> {
    this.#done ??= this.#run();
    return this.#done;
  }

  /** The same; rejects if it takes longer than `timeoutMs` (STOP_TIMEOUT_MS). */
  runWithin(timeoutMs: number): Promise<void> {
    const message = `the stop took longer than STOP_TIMEOUT_MS=${timeoutMs}: what was not finished is done after the next start`;
    return within(timeoutMs, this.run(), () => new StartupError(message));
  }

  async #run(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        // The others are still to be ended; what is not finished is taken up after the next start.
        this.#log.warn({ error: String(error) }, 'not ended cleanly');
      }
    }
  }
}
