// Warnings about failures that repeat: at most one in ten seconds.
import type { Logger } from 'pino';

const WARN_EVERY_MS = 10_000;

export class ThrottledLog {
  readonly #log: Logger;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(log: Logger) {
    this.#log = log;
  }

  warn(about: object, message: string): void {
    if (performance.now() - this.#warnedAt < WARN_EVERY_MS) return;
    this.#warnedAt = performance.now();
    this.#log.warn(about, message);
  }
}
